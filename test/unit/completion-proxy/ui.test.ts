import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FunctionResponse } from '#shared/http/function.ts';
import { formatUsd } from '#shared/money.ts';
import { toBackend } from '../../../functions/completion-proxy/backends/make.ts';
import { createUpstream } from '../../../functions/completion-proxy/backends/upstream.ts';
import type { History } from '../../../functions/completion-proxy/records/history.ts';
import type { CallRecord, Running } from '../../../functions/completion-proxy/records/record.ts';
import { createRecorder } from '../../../functions/completion-proxy/records/recorder.ts';
import { UnderWay } from '../../../functions/completion-proxy/records/under-way.ts';
import type { CallFacts } from '../../../functions/completion-proxy/road/observer.ts';
import { content } from '../../../functions/completion-proxy/ui/content.ts';
import { lookNow } from '../../../functions/completion-proxy/ui/live.ts';
import { renderUi } from '../../../functions/completion-proxy/ui/page.ts';
import { createUiRoutes } from '../../../functions/completion-proxy/ui/routes.ts';
import { words } from '../../../functions/completion-proxy/ui/words.ts';
import { makeCall } from '../../support/call.ts';
import { makeRecord } from '../../support/call-record.ts';

const plain = { caller: 'ops', isAdmin: true, hasHistory: true, keepsContent: false };
const textOf = (options: Partial<typeof plain> = {}) => String(renderUi({ ...plain, ...options }).body);

function makeUpstream(name: string, maxConcurrency = Number.POSITIVE_INFINITY) {
  const timeouts = { connectMs: 0, firstByteMs: 0, idleMs: 0, totalMs: 0 };
  const defaults = {
    timeouts,
    maxConcurrency,
    cancelOnDisconnect: true,
    forwardAuthorization: false,
    collectStreamUsage: false,
  };
  return createUpstream(toBackend({ name, url: 'http://secret-host:1', kind: 'openai' }, defaults), {
    breaker: { failures: 1, windowMs: 1_000, openMs: 5_000 },
    gate: { maxQueue: 1, maxWaitMs: 1 },
    clock: () => 0,
  });
}

/** A recorder whose calls stay under way, and what begins one. */
function makeRunning() {
  const running = new UnderWay<Running>();
  let clock = 0;
  const { observe } = createRecorder({
    prices: new Map() as never,
    sinks: [],
    onError: () => expect.fail('a call was not recorded'),
    running,
    now: () => 0,
    clock: () => clock,
  });
  const begin = (callId: string, caller: string, more: Partial<CallFacts> = {}) =>
    observe(
      {
        callId,
        caller: { name: caller, method: 'api-key' },
        method: 'POST',
        path: '/v1/chat/completions',
        dialect: 'chat',
        isLlm: true,
        requestedModel: 'm',
        endUser: undefined,
        trace: undefined,
        stream: true,
        ...more,
      },
      undefined,
    )!;
  return { running, begin, pass: (ms: number) => (clock += ms) };
}

describe('the page', () => {
  it('lets run nothing but its own script and style, by their hashes, and asks nobody else', () => {
    const { headers, body, status } = renderUi(plain);
    const policy = (headers as Record<string, string>)['Content-Security-Policy']!;
    const hashOf = (tag: string) => {
      const [, text = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(String(body))!;
      return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    };
    expect(status).toBe(200);
    expect(policy).toContain(`script-src ${hashOf('script')}`);
    expect(policy).toContain(`style-src ${hashOf('style')}`);
    expect(policy).toContain(`default-src 'none'`);
    expect(policy).not.toContain('unsafe');
    expect(String(body).replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\/|\ssrc=|\son[a-z]+="/);
  });

  it('writes the name of a key as text', () => {
    const body = textOf({ caller: '<img src=x onerror=alert(1)>' });
    expect(body).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(body).not.toContain('<img');
  });

  it('never makes markup of what comes from outside', () => {
    const [, script = ''] = /<script>(.*)<\/script>/s.exec(textOf())!;
    expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function/);
  });

  it('has the callers to choose from for an admin only', () => {
    expect(textOf()).toContain('name="caller"');
    expect(textOf({ isAdmin: false })).not.toContain('name="caller"');
    expect(textOf({ isAdmin: false })).toContain('its own calls');
  });

  it('says that history is off, and offers nothing to search', () => {
    const body = textOf({ hasHistory: false });
    expect(body).toContain('<code>HISTORY_DAYS</code> is 0');
    expect(body).not.toContain('<form');
  });

  it('is small on its way, and plain for whom takes nothing else', () => {
    const limits = { isAdmin: () => true };
    const routes = createUiRoutes({
      ...{ history: undefined, running: [], upstreams: [], limits, keepsContent: false, now: () => 0 },
    });
    const ask = (encoding: string) => {
      const { event, context } = makeCall({ headers: { 'Accept-Encoding': encoding } });
      const caller = { name: 'ops', method: 'api-key' as const };
      return routes[0]!.answer(event, { ...context, caller }) as FunctionResponse;
    };
    const plainly = ask('identity');
    const zipped = ask('gzip, deflate, br');
    expect(zipped.headers).toMatchObject({ 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' });
    expect(plainly.headers).not.toHaveProperty('Content-Encoding');
    expect((zipped.body as Buffer).length).toBeLessThan(15_000);
    expect(Buffer.byteLength(String(plainly.body))).toBeLessThan(40_000);
    expect(gunzipSync(zipped.body as Buffer).toString()).toBe(plainly.body);
  });
});

/** What the script says with, as the browser has it. */
const said = new Function(
  `${words}; return { usd, usdOfPico, pico, ms, bytes, sentenceOf, endOf, toneOf, middleOf };`,
)();

describe('the words', () => {
  it.each([
    [null, '–'],
    ['0', '$0.00'],
    ['0.5', '$0.50'],
    ['0.032', '$0.032'],
    ['0.00001005', '$0.00001'],
    ['0.000123456', '$0.000123'],
    ['12.5', '$12.50'],
    ['1234.567', '$1234.56'],
    ['0.000000000000', '$0'],
  ])('write a cost of %s as %s', (cost, text) => {
    expect(said.usd(cost)).toBe(text);
  });

  it('add costs without losing a pico-dollar', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 10n ** 18n }), { maxLength: 50 }), (costs) => {
        const sum = costs.reduce((total, cost) => total + said.pico(formatUsd(cost)), 0n);
        expect(sum).toBe(costs.reduce((total, cost) => total + cost, 0n));
      }),
    );
  });

  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_234, '1.23 s'],
    [12_345, '12.3 s'],
    [61_000, '1 min 1 s'],
    [null, '–'],
  ])('write %s ms as %s', (ms, text) => {
    expect(said.ms(ms)).toBe(text);
  });

  it.each([
    [{}, 'good', 'The whole answer reached the caller.'],
    [{ status: 404 }, 'bad', 'The backend answered with the error 404, which the caller got.'],
    [{ outcome: 'client_abort', duration_ms: 70 }, 'warn', 'The caller left after 70 ms, in the middle of the answer.'],
    [
      { outcome: 'timeout', status: 504, first_byte_ms: null },
      'bad',
      'The backend was too slow, before its first byte.',
    ],
    [{ outcome: 'refused', status: 429, attempts: 0 }, 'bad', 'It was refused here, and reached no backend.'],
    [{ outcome: 'upstream_error' }, 'bad', 'The backend b failed in the middle of its answer.'],
    [{ outcome: 'upstream_error', status: 503 }, 'bad', 'The backend answered with the error 503.'],
  ] as const)('say of %j how it ended', (more, tone, sentence) => {
    const record = makeRecord('r', more as Partial<CallRecord>);
    expect([said.toneOf(record), said.sentenceOf(record)]).toEqual([tone, sentence]);
  });
});

const read = new Function(`${content}; return { promptText, answerText };`)();

describe('prompts and answers', () => {
  it.each([
    ['chat', { choices: [{ message: { content: 'Hi you' } }] }],
    ['completions', { choices: [{ text: 'Hi you' }] }],
    ['responses', { object: 'response', output: [{ content: [{ type: 'output_text', text: 'Hi you' }] }] }],
    ['Anthropic', { type: 'message', content: [{ type: 'text', text: 'Hi you' }] }],
    ['Ollama chat', { message: { role: 'assistant', content: 'Hi you' }, done: true }],
    ['Ollama generate', { response: 'Hi you', done: true }],
    [
      'a message that calls something without a name',
      { choices: [{ message: { content: 'Hi you', tool_calls: [{ function: {} }] } }] },
    ],
  ])('are read from an answer of %s', (_dialect, body) => {
    expect(read.answerText(JSON.stringify(body))).toBe('Hi you');
  });

  it.each([
    [
      {
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'Why?' },
        ],
      },
    ],
    [{ system: 'Be brief.', messages: [{ role: 'user', content: [{ type: 'text', text: 'Why?' }] }] }],
    [{ instructions: 'Be brief.', input: [{ role: 'user', content: [{ type: 'input_text', text: 'Why?' }] }] }],
  ])('are read from %j', (body) => {
    expect(read.promptText(JSON.stringify(body))).toBe('system: Be brief.\n\nuser: Why?');
  });

  it('are left as they were sent where nothing can be made of them', () => {
    fc.assert(
      fc.property(fc.json(), (body) => {
        expect(typeof read.promptText(body)).toBe('string');
        expect(typeof read.answerText(body)).toBe('string');
      }),
    );
    expect([read.promptText('{"messages": [{"ro'), read.answerText('not json')]).toEqual(['', '']);
    expect(read.promptText('{"prompt": "Why?"}')).toBe('Why?');
  });
});

describe('what goes on', () => {
  it('tells how far each call has come, and forgets it when it has ended', () => {
    const { running, begin, pass } = makeRunning();
    const upstream = makeUpstream('b');
    const parts = { running, upstreams: [upstream], now: () => 0 };
    const call = begin('c1', 'ada');
    const shown = () => lookNow(parts, undefined).running[0];
    expect(shown()).toMatchObject({ id: 'c1', caller: 'ada', model: 'm', backend: null, attempts: 0, chunks: 0 });
    const attempt = { number: 1, backend: upstream.backend, model: 'm' };
    call.attemptStarted!(attempt);
    call.attemptFailed!(attempt, { failure: 'status', status: 503 });
    call.attemptStarted!({ ...attempt, number: 2 });
    expect(shown()).toMatchObject({ backend: 'b', attempts: 2, failed_attempts: 1, first_byte_ms: null });
    pass(40);
    call.firstByte!();
    call.chunk!(Buffer.from('data: 1\n\n'));
    expect(shown()).toMatchObject({ first_byte_ms: 40, chunks: 1, answer_bytes: 9 });
    call.ended!('ok', 200);
    expect([...running]).toEqual([]);
  });

  it('shows a caller its own calls, and no load of the backends', () => {
    const { running, begin } = makeRunning();
    begin('c1', 'ada');
    begin('c2', 'bob');
    const upstream = makeUpstream('b', 2);
    upstream.gate.tryEnter();
    const parts = { running, upstreams: [upstream], now: () => 0 };
    const own = lookNow(parts, 'bob');
    expect([own.calls, own.running.map(({ id }) => id)]).toEqual([1, ['c2']]);
    expect(own.backends).toEqual([{ name: 'b', kind: 'openai', healthy: true, breaker: 'closed', open_until: null }]);
    expect(lookNow(parts, undefined)).toMatchObject({ calls: 2, backends: [{ in_flight: 1, places: 2, waiting: 0 }] });
  });

  it('keeps the order of those that stay, whoever leaves', () => {
    const { running, begin } = makeRunning();
    const calls = ['c1', 'c2', 'c3', 'c4'].map((id) => begin(id, 'ada'));
    const ids = () => lookNow({ running, upstreams: [], now: () => 0 }, undefined).running.map(({ id }) => id);
    calls[1]!.ended!('ok', 200);
    begin('c5', 'ada');
    calls[0]!.ended!('ok', 200);
    calls[3]!.ended!('client_abort', 0);
    expect(ids()).toEqual(['c3', 'c5']);
  });

  it('names at most a hundred calls and counts all', () => {
    const { running, begin } = makeRunning();
    for (let index = 0; index < 250; index += 1) begin(`c${index}`, 'ada');
    const { calls, running: shown } = lookNow({ running, upstreams: [], now: () => 0 }, undefined);
    expect([calls, shown.length, shown[0]!.id]).toEqual([250, 100, 'c0']);
  });

  it('tells when a breaker lets the next call through, and never where a backend is', () => {
    const upstream = makeUpstream('b');
    upstream.breaker.failed(upstream.breaker.begin());
    upstream.healthy = false;
    const now = lookNow({ running: [], upstreams: [upstream], now: () => 1_000_000 }, undefined);
    expect(now.backends[0]).toMatchObject({ healthy: false, breaker: 'open', open_until: '1970-01-01T00:16:45.000Z' });
    expect(JSON.stringify(now)).not.toContain('secret-host');
  });
});

describe('GET /_proxy/ui/live', () => {
  function follow(url: string, { isAdmin = true } = {}) {
    const listeners = new Set<(record: CallRecord) => void>();
    const history = {
      follow(listener: (record: CallRecord) => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    } as unknown as History;
    const { running, begin } = makeRunning();
    const limits = { isAdmin: () => isAdmin };
    const routes = createUiRoutes({ history, running, upstreams: [], limits, keepsContent: false, now: () => 0 });
    const gone = new AbortController();
    const { event, context } = makeCall({ url, signal: gone.signal });
    const caller = { name: 'bob', method: 'api-key' as const };
    const answer = routes.find(({ path }) => path === '/ui/live')!.answer(event, { ...context, caller });
    return { answer: answer as { status: number; body: Readable }, listeners, begin, gone };
  }
  const readAll = (body: Readable) => {
    const events: string[] = [];
    for (let piece = body.read(); piece !== null; piece = body.read()) events.push(String(piece));
    return events.join('');
  };

  it('begins with what goes on, and then tells the records that match', () => {
    const { answer, listeners, gone } = follow('/_proxy/ui/live?model=m');
    expect(readAll(answer.body)).toMatch(/^: following\n\nevent: now\ndata: \{"time":"1970-01-01T00:00:00.000Z"/);
    for (const listener of listeners) {
      listener(makeRecord('r1', { model: 'm', requested_model: 'm' }));
      listener(makeRecord('r2', { model: 'other', requested_model: 'other' }));
    }
    const told = readAll(answer.body);
    expect(told).toContain('"id":"r1"');
    expect(told).not.toContain('"id":"r2"');
    gone.abort();
    expect(answer.body.destroyed).toBe(true);
  });

  it('stops to follow when the follower leaves', async () => {
    const { answer, listeners, gone } = follow('/_proxy/ui/live');
    expect(listeners.size).toBe(1);
    const closed = new Promise((resolve) => answer.body.once('close', resolve));
    gone.abort();
    await closed;
    expect(listeners.size).toBe(0);
  });

  it("tells a limited key nothing of another's, whatever it asks for", () => {
    const { answer, listeners, gone } = follow('/_proxy/ui/live?caller=ada', { isAdmin: false });
    for (const listener of listeners) {
      listener(makeRecord('theirs', { caller: 'ada' }));
      listener(makeRecord('own', { caller: 'bob' }));
    }
    const told = readAll(answer.body);
    expect(told).toContain('"id":"own"');
    expect(told).not.toContain('theirs');
    gone.abort();
  });

  it('refuses a parameter that is none', () => {
    expect(() => follow('/_proxy/ui/live?colour=red')).toThrow('colour is no parameter here');
  });
});
