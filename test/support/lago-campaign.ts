import { formatUsd, parseUsd } from '#shared/money.ts';
import { toCallId } from '../../functions/lago-usage-push/calls/call.ts';
import type { LagoSandbox } from '../../sandbox/lago.ts';
import { completeRow } from '../../sandbox/litellm/rows.ts';
import type { LitellmSandbox, SpendLogRow } from '../../sandbox/litellm.ts';
import { createRandom, type Fault } from '../../sandbox/server.ts';
import { until } from './bundle-process.ts';
import { toPayload } from './litellm-payload.ts';

/** The function as the campaign sees it. A call that failed on the way has the status 0. */
export interface Target {
  post(path: string, body: string): Promise<{ status: number; body: Record<string, unknown> }>;
  /** Ends it without a word and starts it anew. */
  kill(): Promise<void>;
}

export interface Campaign {
  seed: number;
  calls: number;
  /** The calls began within this long before. */
  spreadMs: number;
  now: () => number;
  litellm: LitellmSandbox;
  lago: LagoSandbox;
  target: Target;
  kills: number;
  report?: (line: string) => void;
}

interface Owed {
  id: string;
  subscription: string;
  cost: string;
  at: string;
  model: string;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const models = ['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4', 'mistral-nemo'];

/** Everything that may go wrong between the function and the systems it talks to, each with its share of the calls. */
const lagoFaults: Fault[] = [
  { kind: 'status', status: 500, share: 0.03 },
  { kind: 'status', status: 503, share: 0.02 },
  { kind: 'rate-limit', retryAfterS: 0, share: 0.03 },
  { kind: 'reset', share: 0.02 },
  // Stored, and the answer lost.
  { kind: 'cut', afterBytes: 20, share: 0.04 },
  { kind: 'html', share: 0.01 },
  { kind: 'hang', share: 0.005 },
];
const litellmFaults: Fault[] = [
  { kind: 'status', status: 500, share: 0.01 },
  { kind: 'reset', share: 0.01 },
  { kind: 'cut', afterBytes: 2_000, share: 0.01 },
];

function makeWorld({ seed, calls, spreadMs, now }: Campaign) {
  const random = createRandom(seed);
  const pick = <T>(items: T[]): T => items[Math.floor(random() * items.length)]!;
  const start = now() - spreadMs - 200_000;
  const owed: Owed[] = [];
  const rows: SpendLogRow[] = [];
  const late: SpendLogRow[] = [];
  const webhooks: SpendLogRow[] = [];
  const records: Record<string, unknown>[] = [];
  for (let index = 0; index < calls; index++) {
    const startMs = Math.floor(start + random() * spreadMs);
    const startTime = new Date(startMs).toISOString();
    const spend = Math.floor(random() * 10_000_000) / 1e9;
    // One in a hundred names nobody who pays, until the default pays at the end.
    const endUser = random() < 0.01 ? '' : `customer-${Math.floor(random() * 40)}`;
    const model = pick(models);
    const cost = formatUsd(parseUsd(spend));
    const subscription = endUser || 'house';
    if (random() < 0.3) {
      const id = `record-${seed}-${index}`;
      records.push({
        id,
        upstream_id: null,
        litellm_call_id: null,
        billed_by: null,
        started_at: startTime,
        ended_at: startTime,
        caller: 'n8n',
        end_user: endUser || null,
        model,
        requested_model: model,
        backend: 'ollama',
        provider: 'openai',
        status: 200,
        outcome: 'ok',
        tokens: { input: 10, output: 5 },
        usage_source: 'upstream',
        cost_usd: cost,
      });
      owed.push({ id: toCallId('record', id), subscription, cost, at: startTime, model });
      continue;
    }
    const row = completeRow({
      request_id: `chatcmpl-${seed}-${index}`,
      startTime,
      spend,
      prompt_tokens: Math.floor(random() * 4_000),
      completion_tokens: Math.floor(random() * 900),
      end_user: endUser,
      model,
    });
    // Both ways, the webhook alone, or the row alone; what began within the last half of the overlap may be logged late.
    const way = random();
    if (way < 0.85) (startMs > now() - 25 * 60_000 - 200_000 && random() < 0.5 ? late : rows).push(row);
    if (way > 0.5) webhooks.push(row);
    owed.push({ id: toCallId('litellm', row.request_id), subscription, cost, at: startTime, model });
  }
  return { random, owed, rows, late, webhooks, records };
}

function shuffle<T>(items: T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!];
  }
  return shuffled;
}

/**
 * Sends the calls of a seed through all three sources at once, with trouble on every way and kills in between. Resolves
 * with what is owed, as lines; `settle` brings the function to rest afterwards.
 */
export async function wage(campaign: Campaign) {
  const { litellm, lago, target, kills, report = () => undefined } = campaign;
  const { random, owed, rows, late, webhooks, records } = makeWorld(campaign);
  litellm.rows.length = 0;
  litellm.rows.push(...rows.sort((left, right) => left.startTime.localeCompare(right.startTime)));
  lago.faults.push(...lagoFaults.map((fault) => ({ ...fault, times: 1e9, path: '/events' })));
  litellm.faults.push(...litellmFaults.map((fault) => ({ ...fault, times: 1e9, path: '/spend' })));

  const posts: { path: string; body: string }[] = [];
  const cut = <T>(items: T[], size: number) =>
    Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
  // Of a small campaign the posts are small, too: there are to be as many of them between two kills.
  const { calls } = campaign;
  for (const [index, part] of cut(shuffle(webhooks, random), Math.min(512, Math.ceil(calls / 40))).entries()) {
    const payloads = part.map((row) => toPayload(row, random() < 0.1));
    const isLines = index % 3 === 2;
    const body = isLines
      ? payloads.map((item) => JSON.stringify(item)).join('\n')
      : JSON.stringify([null, ...payloads]);
    posts.push({ path: '/webhook', body });
  }
  for (const part of cut(shuffle(records, random), Math.min(200, Math.ceil(calls / 80)))) {
    posts.push({ path: '/usage', body: JSON.stringify({ version: 1, records: part }) });
  }
  // One in five comes twice.
  const queue = shuffle([...posts, ...posts.filter(() => random() < 0.2)], random);
  const waves = cut(queue, Math.max(1, Math.ceil(queue.length / (2 * kills + 3))));
  const lateWaves = cut(shuffle(late, random), Math.max(1, Math.ceil(late.length / (waves.length + 1))));
  let killed = 0;

  async function send({ path, body }: { path: string; body: string }) {
    for (;;) {
      const { status, body: answer } = await target.post(path, body);
      if (status === 200) return;
      if (status > 0 && status < 500 && status !== 409) throw new Error(`${path}: ${status} ${JSON.stringify(answer)}`);
      await pause(20);
    }
  }

  /** Some runs, each as soon as the one before it has ended or its lease has, until one comes to its end. */
  async function runSome() {
    for (let left = 12; left > 0; ) {
      const { status, body } = await target.post('/', '');
      if (status === 200 && body.complete === true) return;
      // Neither says anything of a run: another one is at work, or the process is being started anew.
      if (status === 409 || status === 0) await pause(50);
      else left -= 1;
    }
  }

  for (const [index, wave] of waves.entries()) {
    for (const row of lateWaves[index] ?? []) litellm.addRow(row);
    // An outage that takes the answers and not the events: whoever sent them cannot know.
    lago.faults.unshift({ kind: 'lost', times: 9, path: '/events' });
    const work = Promise.all([runSome(), ...wave.map(send)]);
    if (killed < kills) {
      // In the middle of a run: so many calls after its first one to Lago.
      const from = lago.ledger.length + 1 + Math.floor(random() * 24);
      let isDone = false;
      const done = work.finally(() => {
        isDone = true;
      });
      await until('a run sends events', () => (isDone || lago.ledger.length >= from ? true : undefined), 120_000);
      if (!isDone) {
        killed += 1;
        await target.kill();
      }
      await done;
    }
    await work;
    report(`wave ${index + 1} of ${waves.length}: Lago has ${lago.events.length} of ${owed.length}, ${killed} kills`);
  }
  for (const row of lateWaves.slice(waves.length).flat()) litellm.addRow(row);
  lago.faults.length = 0;
  litellm.faults.length = 0;
  return { owed: owed.map(toLine).sort(), killed, rows: rows.length, late: late.length, posts: queue.length };
}

const toLine = ({ id, subscription, cost, at, model }: Owed) => `${id} ${subscription} ${cost} ${at} ${model}`;

/** Runs until nothing moves any more, dead letters included; resolves with the last summary. */
export async function settle(target: Target): Promise<Record<string, unknown>> {
  return until(
    'it comes to rest',
    async () => {
      const { status, body } = await target.post('/', '');
      if (status !== 200) return undefined;
      const retried = await target.post('/dead-letters/retry', '');
      return body.complete === true && body.sent === 0 && retried.body.retried === 0 ? body : undefined;
    },
    480_000,
  );
}

/** What Lago would invoice, in the same words. */
export const invoicedLines = (lago: LagoSandbox) =>
  lago
    .invoiced()
    .map((event) =>
      toLine({
        id: event.transaction_id,
        subscription: event.external_subscription_id ?? '',
        cost: String(event.properties.cost),
        at: event.timestamp,
        model: String(event.properties.model),
      }),
    )
    .sort();
