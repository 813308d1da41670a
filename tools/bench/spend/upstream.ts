import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A LiteLLM that costs next to nothing: `dump` gives ROWS rows in one answer as 1.53.7 does, `pages` gives PER_DAY rows
 * of any day by `/spend/logs/v2`, `tables` gives daily tables. In a process of its own; prints its port, and counts its
 * calls at /_calls.
 */
const [mode = 'dump', size = '1000'] = process.argv.slice(2);

const models = ['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4', 'mistral-nemo', 'llama-3.3'];
const hashOf = (number: number) =>
  `88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f12${number.toString(16).padStart(8, '0')}`;
const firstDayMs = Date.parse('2024-12-01T00:00:00Z');
const dayMs = 86_400_000;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const micros = (ms: number) => new Date(ms).toISOString().replace('Z', '000Z');

/** A full row as 1.53.7 has it, of about 800 bytes. */
function rowAt(index: number, startMs: number) {
  const key = hashOf(index % 40);
  const [prompt, completion] = [20 + ((index * 37) % 4_000), 5 + ((index * 61) % 900)];
  return {
    request_id: `chatcmpl-9ZKMURhVYSi9D6r6PJ9vLc${index.toString(36).padStart(6, '0')}`,
    call_type: 'acompletion',
    api_key: key,
    spend: Number((prompt * 1.5e-7 + completion * 6e-7).toFixed(12)),
    total_tokens: prompt + completion,
    prompt_tokens: prompt,
    completion_tokens: completion,
    startTime: micros(startMs),
    endTime: micros(startMs + 1_884),
    completionStartTime: micros(startMs + 780),
    model: models[index % models.length],
    model_id: 'cb41bc03deadbeef',
    model_group: models[index % models.length],
    api_base: 'https://api.openai.com',
    user: `user-${index % 20}`,
    metadata: {
      user_api_key: key,
      user_api_key_alias: `key-${index % 40}`,
      user_api_key_team_id: `team-${index % 8}`,
      user_api_key_user_id: `user-${index % 20}`,
      user_api_key_team_alias: `Team ${index % 8}`,
      spend_logs_metadata: null,
      requester_ip_address: '',
    },
    cache_hit: 'False',
    cache_key: 'Cache OFF',
    request_tags: [],
    team_id: `team-${index % 8}`,
    end_user: `customer-${index % 50}`,
    requester_ip_address: '',
  };
}

const block = 10_000;

/** The same block again and again: what is measured is its reader. */
async function sendDump(res: ServerResponse, rows: number) {
  const texts = Array.from({ length: block }, (_, index) =>
    JSON.stringify(rowAt(index, firstDayMs + Math.floor((index / block) * 30) * dayMs + index * 1_000)),
  );
  const bytes = Buffer.from(texts.join(','));
  const comma = Buffer.from(',');
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.write('[');
  for (let sent = 0; sent < rows; sent += block) {
    if (sent > 0) res.write(comma);
    for (let at = 0; at < bytes.length; at += 65_536) {
      if (!res.write(bytes.subarray(at, at + 65_536))) await new Promise((resolve) => res.once('drain', resolve));
      if (res.destroyed) return;
    }
  }
  res.end(']');
}

const parseMoment = (text: string) => Date.parse(`${text.replace(' ', 'T')}Z`);

/** Rows are spread evenly over the day, so that a window is a range of their numbers. */
function toPage(query: URLSearchParams, perDay: number) {
  const [from, to] = [parseMoment(query.get('start_date')!), parseMoment(query.get('end_date')!)];
  const stepMs = dayMs / perDay;
  const [first, last] = [Math.ceil(from / stepMs), Math.floor(to / stepMs)];
  const pageSize = Number(query.get('page_size'));
  const start = first + (Number(query.get('page')) - 1) * pageSize;
  const data = Array.from({ length: Math.max(0, Math.min(pageSize, last - start + 1)) }, (_, index) =>
    rowAt(start + index, Math.round((start + index) * stepMs)),
  );
  return { data, total: last - first + 1, total_is_capped: false };
}

const metrics = (spend: number) => ({
  spend,
  prompt_tokens: 1_000,
  completion_tokens: 100,
  total_tokens: 1_100,
  api_requests: 10,
});

/** Twenty keys and five models on each day of the window. */
function toTables(query: URLSearchParams) {
  const results = [];
  const last = Date.parse(query.get('end_date')!);
  for (let ms = Math.max(firstDayMs, Date.parse(query.get('start_date')!)); ms <= last; ms += dayMs) {
    const byKey = Object.fromEntries(Array.from({ length: 20 }, (_, key) => [hashOf(key), { metrics: metrics(0.25) }]));
    const shares = (names: string[]) =>
      Object.fromEntries(names.map((name) => [name, { metrics: metrics(5), api_key_breakdown: byKey }]));
    const apiKeys = Object.fromEntries(
      Object.keys(byKey).map((key) => [key, { metrics: metrics(1.25), metadata: {} }]),
    );
    results.push({
      date: toDay(ms),
      metrics: metrics(25),
      breakdown: { models: shares(models), providers: shares(['a', 'b', 'c', 'd', 'e']), api_keys: apiKeys },
    });
  }
  const pageSize = Number(query.get('page_size') ?? results.length);
  const page = Number(query.get('page') ?? 1);
  const newest = results.reverse();
  const shown = newest.slice((page - 1) * pageSize, page * pageSize);
  const totalPages = Math.max(1, Math.ceil(newest.length / pageSize));
  return { results: shown, metadata: { page, total_pages: totalPages, has_more: page < totalPages } };
}

function toSummary(query: URLSearchParams) {
  const days = [];
  const end = Date.parse(query.get('end_date')!);
  for (let ms = Math.max(firstDayMs, Date.parse(query.get('start_date')!)); ms < end; ms += dayMs) {
    days.push({ startTime: toDay(ms), spend: mode === 'tables' ? 25 : 0, users: {}, models: {} });
  }
  return days;
}

let calls = 0;

async function answer(req: IncomingMessage, res: ServerResponse) {
  const url = new URL(req.url ?? '/', 'http://upstream');
  const json = (status: number, value: unknown) => {
    res.writeHead(status, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(value));
  };
  if (url.pathname === '/_calls') return json(200, calls);
  calls += 1;
  const { pathname, searchParams: query } = url;
  if (pathname === '/spend/logs' && query.has('start_date')) return json(200, toSummary(query));
  if (pathname === '/spend/logs' && mode === 'dump') return sendDump(res, Number(size));
  if (pathname === '/spend/logs/v2' && mode === 'pages') return json(200, toPage(query, Number(size)));
  if (pathname.startsWith('/user/daily/activity') && mode === 'tables') return json(200, toTables(query));
  if (['/spend/keys', '/spend/users', '/team/list'].includes(pathname)) return json(200, []);
  if (pathname === '/key/info') return json(404, { error: { message: 'Key not found in database', code: '404' } });
  return json(404, { detail: 'Not Found' });
}

const server = createServer((req, res) => void answer(req, res).catch((error: unknown) => res.destroy(error as Error)));
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
