import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { ask, type Result } from './caller.ts';
import {
  answerJson,
  answerWell,
  endEvents,
  type FaultUpstream,
  finishEvents,
  openAiError,
  sendEvent,
  sendWords,
  startEvents,
  words,
} from './upstream.ts';

/**
 * Times of the scenarios and of the proxy's time-outs are those of the real world through this; only Retry-After, which
 * has whole seconds, and what belongs to it (S01) keep their length.
 */
const scale = 1 / 10;
const scaled = (seconds: number) => seconds * 1_000 * scale;

/** The proxy's settings, in the scaled world's milliseconds: 12 s to the first byte, 15 s between two chunks. */
export const settings = (primary: string, fallback: string): Record<string, string> => ({
  BACKENDS: JSON.stringify([
    { name: 'primary', url: primary, kind: 'openai', models: ['primary-model'] },
    {
      name: 'fallback',
      url: fallback,
      kind: 'openai',
      models: ['fallback-model'],
      aliases: { 'primary-model': 'fallback-model' },
      order: 2,
    },
  ]),
  BACKEND_CONNECT_TIMEOUT_MS: String(scaled(10)),
  BACKEND_FIRST_BYTE_TIMEOUT_MS: String(scaled(12)),
  BACKEND_IDLE_TIMEOUT_MS: String(scaled(15)),
  SSE_PING_S: String(scaled(15) / 1_000),
  BREAKER_WINDOW_MS: String(scaled(30)),
  BREAKER_OPEN_MS: String(scaled(15)),
  HEALTHCHECK_INTERVAL_S: String(scaled(10) / 1_000),
});

export interface World {
  url: string;
  primary: FaultUpstream;
  fallback: FaultUpstream;
}

export interface Scenario {
  id: string;
  title: string;
  /** Throws where the proxy does not what it should. */
  run(world: World): Promise<void>;
}

const well: Parameters<FaultUpstream['play']>[0] = (socket, request) => answerWell(socket, request, 'primary-model');
const whole = words.join('');

function assertWhole(result: Result, model: string) {
  assert.equal(result.status, 200);
  assert.equal(result.content, whole, 'the answer is not the whole one, once');
  assert.ok(result.finished && !result.broken && result.error === undefined, 'the answer does not end well');
  assert.equal(result.model, model);
}

/** What a caller must never take for an answer: a part of one that says nothing of its being a part. */
function assertClearError(result: Result) {
  assert.ok(!result.finished, 'a part of an answer was ended as a whole one');
  assert.ok(result.error !== undefined || result.broken || result.status >= 400, 'nothing tells of the failure');
}

/** The process has taken no harm. */
async function assertAlive({ url, primary }: World) {
  primary.play(well);
  await wait(scaled(16));
  assertWhole(await ask(url), 'primary-model');
}

const gapsOf = ({ requests }: FaultUpstream) => requests.slice(1).map(({ at }, index) => at - requests[index]!.at);

export const scenarios: Scenario[] = [
  {
    id: 'S01',
    title: '429 with Retry-After is waited for, and not asked before',
    async run({ url, primary }) {
      primary.play((socket, request, attempt) =>
        attempt === 1
          ? answerJson(socket, 429, openAiError('slow down', 'rate_limit'), 'Retry-After: 2')
          : well(socket, request, attempt),
      );
      assertWhole(await ask(url), 'primary-model');
      assert.equal(primary.requests.length, 2);
      assert.ok(gapsOf(primary)[0]! >= 1_900, `asked again after ${gapsOf(primary)[0]} ms`);
    },
  },
  {
    id: 'S02',
    title: '429 for ever is asked with jitter, a few times in all, and the fallback answers',
    async run({ url, primary, fallback }) {
      primary.play((socket) => answerJson(socket, 429, openAiError('slow down', 'rate_limit')));
      assertWhole(await ask(url), 'fallback-model');
      assert.ok(primary.requests.length >= 2 && primary.requests.length <= 4, `${primary.requests.length} attempts`);
      const gaps = new Set(gapsOf(primary).map(Math.round));
      for (let call = 0; call < 9; call++) assertWhole(await ask(url), 'fallback-model');
      for (const gap of gapsOf(primary)) gaps.add(Math.round(gap));
      assert.ok(gaps.size > 1, 'every wait was the same');
      assert.ok(primary.requests.length <= 6, `${primary.requests.length} attempts for ten calls`);
      assert.equal(fallback.requests.length, 10);
    },
  },
  {
    id: 'S03',
    title: '500 once is tried again at the same backend',
    async run({ url, primary, fallback }) {
      primary.play((socket, request, attempt) =>
        attempt === 1 ? answerJson(socket, 500, openAiError('oops', 'server_error')) : well(socket, request, attempt),
      );
      assertWhole(await ask(url), 'primary-model');
      assert.deepEqual([primary.requests.length, fallback.requests.length], [2, 0]);
    },
  },
  {
    id: 'S04',
    title: '503 for ever: the fallback answers, and the error is shown where there is nowhere to go',
    async run({ url, primary, fallback }) {
      primary.play((socket) => answerJson(socket, 503, openAiError('overloaded', 'overloaded')));
      assertWhole(await ask(url), 'fallback-model');
      assert.ok(primary.requests.length <= 6);
      fallback.play((socket) => answerJson(socket, 503, openAiError('overloaded as well', 'overloaded')));
      const last = await ask(url);
      assert.deepEqual([last.status, last.error?.message], [503, 'overloaded as well']);
    },
  },
  {
    id: 'S05',
    title: 'a connection that is reset before the head is asked again',
    async run({ url, primary }) {
      primary.play((socket, request, attempt) =>
        attempt === 1 ? void socket.resetAndDestroy() : well(socket, request, attempt),
      );
      assertWhole(await ask(url), 'primary-model');
      assert.equal(primary.requests.length, 2);
    },
  },
  {
    id: 'S06',
    title: 'no answer at all: timed out, not asked again, and the fallback answers',
    async run({ url, primary }) {
      primary.play(() => {});
      const result = await ask(url);
      assertWhole(result, 'fallback-model');
      assert.equal(primary.requests.length, 1);
      assert.ok(result.ms < scaled(100), `took ${result.ms} ms`);
      // Without a stream, the same.
      assertWhole(await ask(url, { stream: false }), 'fallback-model');
    },
  },
  {
    id: 'S07',
    title: 'a first token after 20 s is answered: by the fallback, within its time to the first byte',
    async run({ url, primary }) {
      primary.play(async (socket) => {
        startEvents(socket);
        await wait(scaled(20));
        if (socket.destroyed) return;
        sendWords(socket, 'primary-model');
        for (const event of [...finishEvents('primary-model'), 'data: [DONE]\n\n']) sendEvent(socket, event);
        endEvents(socket);
      });
      const result = await ask(url);
      assertWhole(result, 'fallback-model');
      assert.ok(result.ms < scaled(20), `took ${result.ms} ms`);
    },
  },
  {
    id: 'S08',
    title: 'a stream that is cut after 40 of 60 words ends with a clear error, and nobody repeats it',
    async run({ url, primary, fallback }) {
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 40);
        socket.end();
      });
      const result = await ask(url);
      assertClearError(result);
      assert.equal(result.content, words.slice(0, 40).join(''));
      assert.ok(typeof result.error?.message === 'string', 'the stream holds no error event');
      assert.deepEqual([primary.requests.length, fallback.requests.length], [1, 0]);
    },
  },
  {
    id: 'S09',
    title: 'a stream that stalls for 30 s after 20 words is noticed, and the proxy stays well',
    async run(world) {
      const { url, primary } = world;
      primary.play(async (socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 20);
        await wait(scaled(30));
        socket.end();
      });
      const result = await ask(url);
      assertClearError(result);
      assert.ok(result.error !== undefined && result.ms < scaled(25), `took ${result.ms} ms`);
      await assertAlive(world);
    },
  },
  {
    id: 'S10',
    title: 'a malformed event is passed on as it came, a malformed chunk is an error, and the proxy stays well',
    async run(world) {
      const { url, primary } = world;
      const broken = 'data: {"id":"chatcmpl-1","choices":[{"delta":{"cont\n\n';
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 9);
        sendEvent(socket, broken);
        sendWords(socket, 'primary-model', 10);
        for (const event of [...finishEvents('primary-model'), 'data: [DONE]\n\n']) sendEvent(socket, event);
        endEvents(socket);
      });
      const result = await ask(url);
      assert.ok(result.text.includes(broken) && result.text.endsWith('data: [DONE]\n\n'), 'bytes were lost');
      assert.ok(!result.broken && result.content === words.toSpliced(9, 1).join(''), 'other words were lost');
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 10);
        socket.write('zz\r\nno chunk\r\n');
      });
      assertClearError(await ask(url));
      await assertAlive(world);
    },
  },
  {
    id: 'S11',
    title: 'a whole stream without [DONE] ends promptly and well, with its usage',
    async run({ url, primary }) {
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model');
        for (const event of finishEvents('primary-model')) sendEvent(socket, event);
        endEvents(socket);
      });
      const result = await ask(url);
      assertWhole(result, 'primary-model');
      assert.equal(result.usage?.completion_tokens, 60);
      assert.ok(result.ms < scaled(8), `took ${result.ms} ms`);
      // Without a finish reason it is a part, whatever its framing says.
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 30);
        endEvents(socket);
      });
      assertClearError(await ask(url));
    },
  },
  {
    id: 'S12',
    title: '400 for a context that is too long is not asked again there, and the next backend answers',
    async run({ url, primary, fallback }) {
      const tooLong = openAiError('maximum context length is 8192 tokens', 'context_length_exceeded');
      primary.play((socket) => answerJson(socket, 400, tooLong));
      assertWhole(await ask(url), 'fallback-model');
      assert.equal(primary.requests.length, 1);
      fallback.play((socket) => answerJson(socket, 400, tooLong));
      const last = await ask(url);
      assert.deepEqual([last.status, last.error?.code, fallback.requests.length], [400, 'context_length_exceeded', 1]);
    },
  },
  {
    id: 'S13',
    title: '400 of a content filter is given to the caller with its reason, and nobody else is asked',
    async run({ url, primary, fallback }) {
      primary.play((socket) =>
        answerJson(socket, 400, openAiError('flagged by our policy', 'content_policy_violation')),
      );
      const result = await ask(url);
      assert.deepEqual([result.status, result.error?.code], [400, 'content_policy_violation']);
      assert.equal(result.error?.message, 'flagged by our policy');
      assert.deepEqual([primary.requests.length, fallback.requests.length], [1, 0]);
    },
  },
  {
    id: 'S14',
    title: 'a stream that is cut is never continued at a fallback that would refuse its beginning',
    async run({ url, primary, fallback }) {
      primary.play((socket) => {
        startEvents(socket);
        sendWords(socket, 'primary-model', 0, 40);
        socket.resetAndDestroy();
      });
      fallback.play((socket, { body }, attempt) =>
        (JSON.parse(body.slice(body.indexOf('{'))) as { messages: { role: string }[] }).messages.at(-1)?.role ===
        'assistant'
          ? answerJson(socket, 400, openAiError('This model does not support assistant message prefill', 'prefill'))
          : answerWell(socket, { path: '', body, at: attempt }, 'fallback-model'),
      );
      const result = await ask(url);
      assertClearError(result);
      assert.ok(result.status === 200 && !/prefill/.test(result.text), 'the failure is hidden by another');
      assert.ok(!result.content.includes('word0 word1 word2 word0'), 'words came twice');
    },
  },
  {
    id: 'S15',
    title: 'a primary that is down for 60 s: twenty calls are answered, it is probed, and gets its calls back',
    async run({ url, primary, fallback }) {
      const startedAt = performance.now();
      const upAt = startedAt + scaled(60);
      primary.play((socket, request, attempt) =>
        performance.now() < upAt
          ? answerJson(socket, 503, openAiError('down', 'down'))
          : well(socket, request, attempt),
      );
      const results: { at: number; result: Result }[] = [];
      for (let call = 0; call < 24; call++) {
        await wait(Math.max(0, startedAt + call * scaled(4) - performance.now()));
        results.push({ at: performance.now(), result: await ask(url) });
      }
      for (const { result } of results) assert.deepEqual([result.status, result.content], [200, whole]);
      const during = primary.requests.filter(({ at }) => at < upAt).length;
      assert.ok(during <= 10, `${during} attempts while it was down`);
      const back = results.find(({ result }) => result.model === 'primary-model');
      assert.ok(back !== undefined && back.at - upAt <= scaled(30), `back after ${back && back.at - upAt} ms`);
      const later = results.slice(results.indexOf(back));
      assert.ok(
        later.every(({ result }) => result.model === 'primary-model'),
        'it was left again',
      );
      assert.ok(fallback.requests.length >= 14);
    },
  },
  {
    id: 'S16',
    title: "a fallback's answer has its own model and usage, once",
    async run({ url, primary, fallback }) {
      primary.play((socket) => answerJson(socket, 503, openAiError('down', 'down')));
      const result = await ask(url);
      assertWhole(result, 'fallback-model');
      assert.equal(result.usage?.completion_tokens, 60);
      assert.equal(result.text.match(/"completion_tokens"/g)?.length, 1);
      assert.match(fallback.requests[0]!.body, /"model":\s*"fallback-model"/);
      assert.equal((await ask(url, { stream: false })).usage?.completion_tokens, 60);
    },
  },
];
