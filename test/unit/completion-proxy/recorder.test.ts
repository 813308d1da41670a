import { afterEach, describe, expect, it } from 'vitest';
import type { Sink } from '../../../functions/completion-proxy/records/call-recorder.ts';
import type { CallRecord } from '../../../functions/completion-proxy/records/record.ts';
import { createRecorder } from '../../../functions/completion-proxy/records/recorder.ts';
import { UnderWay } from '../../../functions/completion-proxy/records/under-way.ts';
import type { CallFacts } from '../../../functions/completion-proxy/road/observer.ts';
import { readPrices } from '../../../functions/completion-proxy/usage/prices.ts';

const errors: unknown[] = [];
afterEach(() => errors.splice(0));

function open(...sinks: Sink[]) {
  return createRecorder({
    prices: readPrices({ name: 'PRICES', table: { m: { input_cost_per_token: 0.5 } } }),
    sinks,
    onError: (error) => errors.push(error),
    running: new UnderWay(),
    now: () => 0,
    clock: () => 0,
  });
}

const facts = (callId: string): CallFacts => ({
  callId,
  caller: { name: 'ada', method: 'api-key' },
  method: 'POST',
  path: '/v1/chat/completions',
  dialect: 'chat',
  isLlm: true,
  requestedModel: 'm',
  endUser: undefined,
  trace: undefined,
  stream: false,
});
const json = ['Content-Type', 'application/json'];
const attempt = { number: 1, backend: { name: 'b', kind: 'openai' } as never, model: 'm' };

/** One that is answered and has ended. */
function pass({ observe }: ReturnType<typeof open>, callId: string, fields = json) {
  const call = observe(facts(callId), undefined)!;
  call.attemptStarted!(attempt);
  call.answered!(attempt, 200, fields);
  call.chunk!(Buffer.from('{"model":"m","usage":{"prompt_tokens":4}}'));
  call.ended!('ok', 200);
}

describe('the recorder', () => {
  it('tells the sinks when the turn is over in which calls ended, in the order of their ends', async () => {
    const told: string[] = [];
    const recorder = open(({ id }) => told.push(id));
    pass(recorder, 'a');
    pass(recorder, 'b');
    expect(told).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toEqual(['a', 'b']);
  });

  it('records at once what has ended when it is closed, and nothing twice', async () => {
    const told: string[] = [];
    const recorder = open(({ id }) => told.push(id));
    pass(recorder, 'a');
    recorder.drain();
    expect(told).toEqual(['a']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toEqual(['a']);
  });

  it.each([
    ['JSON', ['Content-Type', 'APPLICATION/problem+JSON'], 'upstream'],
    ['JSON that calls itself text', ['content-type', 'text/plain; charset=utf-8'], 'upstream'],
    ['JSON without a type', [], 'upstream'],
    ['what is compressed', ['Content-Type', 'application/json', 'Content-Encoding', 'gzip'], 'absent'],
    ['a sound', ['Content-Type', 'audio/mpeg'], 'absent'],
  ])('looks for usage by what an answer says it is: %s', (_, fields, source) => {
    const told: string[] = [];
    const recorder = open(({ usage_source }) => told.push(usage_source));
    pass(recorder, 'a', fields);
    recorder.drain();
    expect(told).toEqual([source]);
  });

  it('tells the cost as the number that the text of the record was made of', () => {
    const told: [string | null, bigint | undefined][] = [];
    const recorder = open(({ cost_usd }, cost) => told.push([cost_usd, cost]));
    pass(recorder, 'a');
    recorder.drain();
    expect(told).toEqual([['2', 2_000_000_000_000n]]);
  });

  it('reports a call that a sink does not take, and records the next', () => {
    const told: CallRecord[] = [];
    const recorder = open((record) => {
      if (record.id === 'a') throw new Error('no');
      told.push(record);
    });
    pass(recorder, 'a');
    pass(recorder, 'b');
    recorder.drain();
    expect(errors).toEqual([new Error('no')]);
    expect(told.map(({ id }) => id)).toEqual(['b']);
  });
});
