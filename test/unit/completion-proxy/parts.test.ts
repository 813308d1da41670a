import { describe, expect, it } from 'vitest';
import type { Caller } from '#shared/auth/authenticate.ts';
import type { BackendKind } from '../../../functions/completion-proxy/backends/backend.ts';
import { toBackend } from '../../../functions/completion-proxy/backends/make.ts';
import { alterPrompt } from '../../../functions/completion-proxy/completion/altered-prompt.ts';
import { readConfig } from '../../../functions/completion-proxy/config.ts';
import { toErrorBody } from '../../../functions/completion-proxy/dialect.ts';
import { toBackendHeaders, toCallerHeaders } from '../../../functions/completion-proxy/headers.ts';
import { createJournal, createRing, originOf } from '../../../functions/completion-proxy/journal.ts';

describe('altered prompt', () => {
  it.each([
    ['Hello World', 'hElLo wOrLd'],
    ['', ''],
    ['A', 'a'],
    ['ab cd', 'aB Cd'],
    ['123', '123'],
    ['aß', 'aSS'],
    ['😀ab', '😀Ab'],
    ['ÀÉ', 'àÉ'],
  ])('of %j is %j', (prompt, expected) => expect(alterPrompt(prompt)).toBe(expected));
});

describe('the one backend', () => {
  const choose = async (env: NodeJS.ProcessEnv) => {
    const [backend] = (await readConfig(env)).backends;
    return backend && { origin: backend.origin, basePath: backend.basePath, kind: backend.kind };
  };

  it.each([
    'http://ollama:11434',
    'http://ollama:11434/',
    'http://ollama:11434/api/generate',
    'http://ollama:11434/api/generate/',
  ])('is the origin of OLLAMA_URL=%s', async (OLLAMA_URL) => {
    expect(await choose({ OLLAMA_URL })).toEqual({ origin: 'http://ollama:11434', basePath: '', kind: 'ollama' });
  });

  it('keeps the path before /api/generate', async () => {
    expect(await choose({ OLLAMA_URL: 'https://gpu/ollama/api/generate' })).toMatchObject({
      origin: 'https://gpu',
      basePath: '/ollama',
    });
  });

  it('is BACKEND_URL before all, and then OpenAI never gets its key', async () => {
    const env = { BACKEND_URL: 'http://b/x', OLLAMA_URL: 'http://o', OPENAI_API_KEY: 'sk' };
    expect(await choose(env)).toEqual({ origin: 'http://b', basePath: '/x', kind: 'plain' });
    expect((await readConfig(env)).backends[0]?.credential).toBeUndefined();
  });

  it('is OpenAI where only its key is set, and nothing without it', async () => {
    const openAi = { origin: 'https://api.openai.com', basePath: '', kind: 'openai' };
    expect(await choose({ OPENAI_API_KEY: 'sk' })).toEqual(openAi);
    expect(await choose({ OPENAI_API_KEY: 'sk', OPENAI_BASE_URL: 'https://api.openai.com/v1' })).toEqual(openAi);
    expect(await choose({})).toBeUndefined();
  });
});

const backendDefaults = {
  timeouts: { connectMs: 0, firstByteMs: 0, idleMs: 0, totalMs: 0 },
  maxConcurrency: Number.POSITIVE_INFINITY,
  cancelOnDisconnect: true,
  forwardAuthorization: false,
  collectStreamUsage: false,
};

describe('header fields', () => {
  const anonymous: Caller = { name: 'anonymous', method: 'none' };
  const named: Caller = { name: 'n8n', method: 'api-key' };
  const send = (pairs: string[], caller = anonymous, authorization?: string, kind: BackendKind = 'openai') => {
    const headers = Object.fromEntries(
      Array.from({ length: pairs.length / 2 }, (_, index) => [pairs[2 * index]!.toLowerCase(), pairs[2 * index + 1]]),
    );
    const credential = authorization === undefined ? undefined : { name: 'key', read: () => authorization };
    const backend = toBackend({ name: 'b', url: 'http://b', kind, credential }, backendDefaults);
    return toBackendHeaders({ rawHeaders: pairs, headers, caller, callId: 'c' }, backend).join('|');
  };

  it('between two neighbours stay here, and those that Connection names', () => {
    const hop = [
      'Connection',
      'keep-alive, X-One',
      'Connection',
      'x-two',
      'X-One',
      '1',
      'X-Two',
      '2',
      'TE',
      'trailers',
    ];
    expect(send([...hop, 'Host', 'h', 'Expect', '100-continue', 'Upgrade', 'h2c', 'X-Kept', 'k'])).toBe(
      'X-Kept|k|X-Request-ID|c|Via|1.1 completion-proxy',
    );
  });

  it('that admitted the caller stay here, in every way a key can be shown', () => {
    const basic = `Basic ${Buffer.from('me:key').toString('base64')}`;
    expect(send(['Authorization', 'Bearer key'], named)).toBe('X-Request-ID|c|Via|1.1 completion-proxy');
    expect(send(['Authorization', basic, 'X-Api-Key', 'key'], named)).toBe('X-Request-ID|c|Via|1.1 completion-proxy');
    expect(send(['X-Api-Key', 'key'], named)).toBe('X-Request-ID|c|Via|1.1 completion-proxy');
    expect(send(['Authorization', 'Digest x', 'X-Api-Key', 'key'], named)).toBe(
      'X-Request-ID|c|Via|1.1 completion-proxy',
    );
    expect(send(['Authorization', 'Bearer theirs'])).toBe('X-Request-ID|c|Via|1.1 completion-proxy');
    expect(send(['Authorization', 'Bearer key', 'x-api-key', 'sk-ant'], named)).toBe(
      'x-api-key|sk-ant|X-Request-ID|c|Via|1.1 completion-proxy',
    );
    const second: Caller = { ...named, inApiKeyHeader: true };
    expect(send(['Authorization', 'Bearer theirs', 'X-Api-Key', 'key'], second)).toBe(
      'X-Request-ID|c|Via|1.1 completion-proxy',
    );
  });

  it("give way to the backend's own credential", () => {
    expect(send(['Authorization', 'Bearer theirs'], anonymous, 'sk')).toBe(
      'X-Request-ID|c|Via|1.1 completion-proxy|Authorization|Bearer sk',
    );
    expect(send(['X-Api-Key', 'theirs', 'Via', '1.1 cdn'], anonymous, 'sk', 'anthropic')).toBe(
      'X-Request-ID|c|Via|1.1 cdn, 1.1 completion-proxy|x-api-key|sk',
    );
  });

  it('of the answer keep order, repeats and the request id of the backend', () => {
    const raw = ['Set-Cookie', 'a', 'Set-Cookie', 'b', 'Keep-Alive', 'timeout=60', 'X-Call-Id', 'theirs'];
    expect(toCallerHeaders(raw, { callId: 'c' }).join('|')).toBe('Set-Cookie,a|Set-Cookie,b|X-Request-ID,c');
    expect(toCallerHeaders(['x-request-id', 'theirs'], { callId: 'c' }).join('|')).toBe('x-request-id,theirs');
  });

  it('of the answer tell no credential, though a backend sends back what it was sent', () => {
    const echoed = [
      'Authorization',
      'Bearer sk',
      'x-api-key',
      'sk',
      'Api-Key',
      'sk',
      'X-Goog-Api-Key',
      'sk',
      'X-A',
      'a',
    ];
    expect(toCallerHeaders(echoed, { callId: 'c' }).join('|')).toBe('X-A,a|X-Request-ID,c');
  });
});

describe('error body', () => {
  const problem = { status: 504, message: 'Too slow', code: 'upstream_timeout', headers: {} };
  const body = (path: string) => toErrorBody(problem, 'c', { path });

  it('has the shape that the path asks for', () => {
    const anthropic = { type: 'error', error: { type: 'timeout_error', message: 'Too slow' }, request_id: 'c' };
    expect(body('/v1/messages')).toEqual(anthropic);
    expect(body('/v1/messages/count_tokens')).toEqual(anthropic);
    expect(body('/api/chat')).toEqual({ error: 'Too slow' });
    const openAi = { error: { message: 'Too slow', type: 'server_error', param: null, code: 'upstream_timeout' } };
    expect(body('/v1/chat/completions')).toEqual(openAi);
    expect(body('/v1/messagesX')).toEqual(openAi);
    expect(body('/metrics')).toEqual({ error: 'Too slow', code: 'upstream_timeout', call_id: 'c' });
  });
});

describe('journal', () => {
  it('drops the oldest lines, by number and by size', () => {
    const ring = createRing<string>(2, (line) => line.length + 1, 10);
    const toText = () =>
      ring
        .list()
        .map((line) => `${line}\n`)
        .join('');
    for (const line of ['one', 'two', 'three']) ring.add(line);
    expect(toText()).toBe('two\nthree\n');
    ring.add('123456789');
    expect(toText()).toBe('123456789\n');
    ring.add('longer than ten');
    expect(toText()).toBe('');
  });

  it('cannot be made to show a line of the caller', () => {
    const journal = createJournal({ logsLines: 9, historyLines: 9, now: () => 0 });
    journal.log('INFO', '::1', 'id', 'GET /x\r\n[1970] [ERROR] [-] [-] forged\u2028\u0085\u001b[2J');
    expect(journal.logs()).toBe(
      '[1970-01-01T00:00:00.000Z] [INFO] [::1] [id] GET /x\\u000d\\u000a[1970] [ERROR] [-] [-] forged\\u2028\\u0085\\u001b[2J\n',
    );
  });

  it('shows a call by two lines in the order of time, and no more lines than are wanted', () => {
    const time = { now: 0 };
    const journal = createJournal({ logsLines: 4, historyLines: 9, now: () => time.now });
    const note = journal.begin('::1', 'a', 'GET', '/x\n[forged]');
    time.now = 5;
    journal.begin('::1', 'b', 'POST', '/y');
    time.now = 9;
    journal.end(note, 404);
    journal.log('ERROR', '::1', 'b', 'oh');
    const at = (ms: number) => new Date(ms).toISOString();
    const lines = [
      `[${at(0)}] [INFO] [::1] [a] Incoming request: GET /x\\u000a[forged]`,
      `[${at(5)}] [INFO] [::1] [b] Incoming request: POST /y`,
      `[${at(9)}] [WARNING] [::1] [a] Processing ended with status 404 and a latency of 9ms`,
      `[${at(9)}] [ERROR] [::1] [b] oh`,
    ];
    expect(journal.logs()).toBe(lines.map((line) => `${line}\n`).join(''));
    journal.log('INFO', '::1', 'c', 'more');
    expect(journal.logs().split('\n')).toHaveLength(5);
    expect(createJournal({ logsLines: 0, historyLines: 0 }).logs()).toBe('');
  });

  it('names the first forwarded address where it is one, else the peer', () => {
    const from = (forwarded: string) =>
      originOf({ headers: { 'x-forwarded-for': forwarded }, remoteAddress: '10.0.0.1' });
    expect(from('203.0.113.7, 10.1.1.1')).toBe('203.0.113.7');
    expect(from('2001:db8::1')).toBe('2001:db8::1');
    expect(from('evil] [x')).toBe('10.0.0.1');
  });
});
