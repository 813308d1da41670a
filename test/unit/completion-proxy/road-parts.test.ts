import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Gate } from '../../../functions/completion-proxy/road/admission.ts';
import { Breaker } from '../../../functions/completion-proxy/road/breaker.ts';
import { keepBody } from '../../../functions/completion-proxy/road/kept-body.ts';
import { isCommentOnly, StreamEnd, streamFormOf } from '../../../functions/completion-proxy/road/stream-end.ts';
import { type Dialect, findLlmRoute } from '../../../functions/completion-proxy/routing/llm-route.ts';
import { scanMembers, scanRequest, withModel } from '../../../functions/completion-proxy/routing/request-scan.ts';

describe('the scan of a body', () => {
  const scan = (text: string) => scanRequest(Buffer.from(text));

  it.each<[string, object]>([
    ['{"model":"a","stream":true}', { model: 'a', stream: true }],
    ['\n { "stream" : false , "messages":[{"model":"no"}], "model" : "b" } ', { model: 'b', stream: false }],
    ['{"messages":"say \\"model\\": \\"no\\"","model":"c"}', { model: 'c' }],
    ['{"a":"\\\\","model":"d"}', { model: 'd' }],
    ['{"MODEL":"e"}', { model: 'e' }],
    ['{"mod\\u0065l":"f"}', { model: 'f' }],
    ['{"model":"caf\\u00e9\\n"}', { model: 'café\n' }],
    ['{"model":7}', {}],
    ['{"model":null,"stream":null}', { stream: false }],
    ['[{"model":"g"}]', {}],
    ['{"model":"cut', {}],
    ['{"messages":[{"content":"cut', {}],
    ['not json', {}],
    ['', { isJson: false }],
  ])('of %s', (text, expected) => {
    expect(scan(text)).toMatchObject(expected);
    if (!('model' in expected)) expect(scan(text).model).toBeUndefined();
  });

  it.each([
    '{"model":"a","model":"b"}',
    '{"model":"a","Model":"b"}',
    '{"stream":true,"model":"a","\\u0073tream":false}',
  ])('tells that %s is ambiguous', (text) => expect(scan(text).ambiguous).toBe(true));

  it('finds in any JSON object what JSON.parse finds', () => {
    const member = fc.tuple(fc.constantFrom('model', 'stream', 'messages', 'x"', '\\', ''), fc.jsonValue());
    fc.assert(
      fc.property(fc.uniqueArray(member, { selector: ([name]) => name }), fc.nat(3), (members, indent) => {
        const object = Object.fromEntries(members);
        const bytes = Buffer.from(JSON.stringify(object, undefined, indent));
        const { spans, ambiguous } = scanMembers(bytes, ['model', 'stream']);
        const read = spans.map((span) => span && JSON.parse(bytes.toString('utf8', span.start, span.end)));
        expect(ambiguous).toBe(false);
        expect(read).toEqual([object.model, object.stream].map((value) => value && JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  it('never reads past the end, wherever a body breaks off', () => {
    const bytes = Buffer.from('{"a":[{"b":"\\"}"},1],"stream":true,"model":"é","z":{"y":[]}}');
    for (let end = 0; end <= bytes.length; end++) {
      const { model } = scanRequest(bytes.subarray(0, end));
      expect([undefined, 'é']).toContain(model);
    }
  });

  it('puts another name in its place and leaves every other byte', () => {
    const text = '{ "messages": ["é \\u0001"],  "model" : "old" ,"n":1.0}';
    const bytes = Buffer.from(text);
    expect(withModel(bytes, scan(text), 'ne"w').toString()).toBe(text.replace('"old"', '"ne\\"w"'));
    expect(withModel(Buffer.from('{}'), scan('{}'), 'x').toString()).toBe('{}');
  });

  it('reads the field of a form, and puts another one in its place', () => {
    const form = Buffer.from(
      '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\u0000\u0001\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n',
    );
    const found = scanRequest(form, 'multipart/form-data; boundary=b');
    expect(found.model).toBe('whisper-1');
    expect(withModel(form, found, 'large').toString()).toBe(form.toString().replace('whisper-1', 'large'));
  });
});

describe('the routes of models', () => {
  it.each([
    ['POST', '/v1/chat/completions', 'chat'],
    ['POST', '/openai/v1/chat/completions', 'chat'],
    ['POST', '/chat/completions', 'chat'],
    ['POST', '/v1/completions', 'chat'],
    ['POST', '/v1/responses', 'responses'],
    ['POST', '/v1/messages', 'anthropic'],
    ['POST', '/v1/messages/count_tokens', 'anthropic'],
    ['POST', '/v1/audio/transcriptions', 'chat'],
    ['POST', '/api/chat', 'ollama'],
    ['POST', '/api/embed', 'ollama'],
    ['POST', '/v1/chat/complet%69ons', 'chat'],
    ['POST', '/V1/Messages/', 'anthropic'],
    ['POST', '//v1//chat//completions;a=b', 'chat'],
    ['POST', '/api/%63hat/', 'ollama'],
    ['POST', '/v1/chat/%ff', undefined],
    ['GET', '/v1/chat/completions', undefined],
    ['POST', '/v1/files', undefined],
    ['POST', '/api/pull', undefined],
    ['POST', '/', undefined],
  ])('%s %s is %s', (method, path, dialect) => expect(findLlmRoute(method, path)?.dialect).toBe(dialect));
});

describe('the end of a stream', () => {
  const wholeChat =
    'data: {"choices":[{"finish_reason":null}]}\n\ndata: {"choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
  const endOf = (dialect: Dialect, pieces: Buffer[]) => {
    const end = new StreamEnd(dialect);
    for (const piece of pieces) end.note(piece);
    return end;
  };

  it.each<[Dialect, string]>([
    ['chat', wholeChat],
    ['anthropic', 'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"}}\n\n'],
    ['responses', `event: response.completed\ndata: {"type":"response.completed","x":"${'y'.repeat(20_000)}"}\n\n`],
    ['ollama', '{"done":false}\n{"done":true,"total_duration":1}\n'],
  ])('of %s is seen, split at any two bytes', (dialect, text) => {
    const bytes = Buffer.from(text);
    const step = Math.max(1, Math.floor(bytes.length / 150));
    for (let cut = 0; cut < Math.min(bytes.length, 150); cut++) {
      for (const at of [cut, cut * step]) {
        expect(endOf(dialect, [bytes.subarray(0, at), bytes.subarray(at)]).isComplete()).toBe(true);
      }
    }
    expect(
      endOf(
        dialect,
        Array.from(bytes, (byte) => Buffer.from([byte])),
      ).isComplete(),
    ).toBe(true);
  });

  it.each<[Dialect, string]>([
    [
      'chat',
      'data: {"choices":[{"delta":{"content":"[DONE] \\"finish_reason\\":\\"stop\\""},"finish_reason":null}]}\n\n',
    ],
    ['anthropic', 'event: content_block_delta\ndata: {"delta":{"text":"\\"stop_reason\\":\\"x\\" message_stop"}}\n\n'],
    ['responses', 'data: {"type":"response.output_text.delta","delta":"\\"type\\":\\"response.completed\\""}\n\n'],
    ['ollama', '{"response":"\\"done\\":true","done":false}\n'],
  ])('of %s is not what a model says', (dialect, text) => {
    expect(endOf(dialect, [Buffer.from(text)]).isComplete()).toBe(false);
    expect(endOf(dialect, []).isComplete()).toBe(false);
  });

  it('keeps a few kilobytes, however long the stream', () => {
    const end = new StreamEnd('chat');
    for (let index = 0; index < 1_000; index++) end.note(Buffer.from(`data: ${'x'.repeat(300)}\n\n`));
    end.note(Buffer.from('data: [DONE]\n\n'));
    expect(end.isComplete()).toBe(true);
  });

  it('knows where a new event may begin', () => {
    const at = (...pieces: string[]) =>
      endOf(
        'chat',
        pieces.map((piece) => Buffer.from(piece)),
      );
    expect(at().isAtBoundary('sse')).toBe(true);
    expect(at('data: 1\n', '\n').isAtBoundary('sse')).toBe(true);
    expect(at('data: 1\r\n\r', '\n').isAtBoundary('sse')).toBe(true);
    expect(at('data: 1\n').isAtBoundary('sse')).toBe(false);
    expect(at('{"a":1}\n').isAtBoundary('ndjson')).toBe(true);
    expect(at('{"a":').isAtBoundary('ndjson')).toBe(false);
  });

  it('tells comments from events', () => {
    const isComment = (text: string) => isCommentOnly(Buffer.from(text));
    expect([': x\n\n', ':\r\n\r\n', '\n', ': a\n: b\n\n'].map(isComment)).toEqual([true, true, true, true]);
    expect([': x', ': x\ndata: 1\n\n', 'data: 1\n\n', ''].map(isComment)).toEqual([false, false, false, false]);
  });

  it.each([
    ['text/event-stream; charset=utf-8', undefined, 'sse'],
    ['application/x-ndjson', undefined, 'ndjson'],
    ['application/jsonl', 'identity', 'ndjson'],
    ['text/event-stream', 'gzip', undefined],
    ['application/json', undefined, undefined],
    [undefined, undefined, undefined],
  ])('of %s, packed %s, is told as %s', (type, encoding, form) => expect(streamFormOf(type, encoding)).toBe(form));
});

describe('the gate', () => {
  const make = (options: Partial<ConstructorParameters<typeof Gate>[0]> = {}) =>
    new Gate({ maxConcurrency: 1, maxQueue: 10, maxWaitMs: 60_000, clock: () => 0, ...options });
  const stay = new AbortController().signal;

  it('lets callers take turns, each in its own order', async () => {
    const gate = make();
    const order: string[] = [];
    expect(gate.tryEnter()).toBe(true);
    const calls = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map((name) =>
      gate.enter(name[0]!, stay).then(() => order.push(name)),
    );
    for (let index = 0; index < calls.length; index++) {
      gate.leave(1);
      await Promise.resolve();
    }
    await Promise.all(calls);
    expect(order).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
    gate.leave(1);
    expect([gate.active, gate.waiting]).toEqual([0, 0]);
  });

  it('refuses where the queue is full, with the time that a place takes', async () => {
    const gate = make({ maxQueue: 1 });
    gate.tryEnter();
    for (let call = 0; call < 60; call++) {
      gate.leave(8_000);
      gate.tryEnter();
    }
    gate.enter('a', stay);
    await expect(gate.enter('b', stay)).rejects.toMatchObject({
      status: 429,
      code: 'queue_full',
      headers: { 'Retry-After': '16' },
    });
  });

  it('counts nobody who left, whatever the order of coming and leaving', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('enter', 'leave', 'abort'), fc.nat(5))), async (steps) => {
        const gate = make({ maxConcurrency: 2, maxQueue: 3 });
        const waiters: AbortController[] = [];
        let holding = 0;
        for (const [step, who] of steps) {
          if (step === 'enter') {
            const leave = new AbortController();
            waiters.push(leave);
            gate.enter(`caller${who}`, leave.signal).then(
              () => {
                holding += 1;
              },
              () => {},
            );
          } else if (step === 'abort') waiters[who]?.abort();
          else if (holding > 0) {
            holding -= 1;
            gate.leave(1);
          }
          await new Promise(setImmediate);
          expect(gate.active).toBe(holding);
          expect(gate.active).toBeLessThanOrEqual(2);
          expect(gate.waiting).toBeLessThanOrEqual(3);
          if (gate.waiting > 0) expect(gate.active).toBe(2);
        }
        for (const waiter of waiters) waiter.abort();
        await new Promise(setImmediate);
        expect(gate.waiting).toBe(0);
        for (; holding > 0; holding--) gate.leave(1);
        expect(gate.active).toBe(0);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the breaker', () => {
  const make = (failures = 3) => {
    const time = { now: 0 };
    const breaker = new Breaker({ failures, windowMs: 1_000, openMs: 100, clock: () => time.now });
    const fail = (times: number) => {
      for (let index = 0; index < times; index++) breaker.failed(breaker.begin());
    };
    return { breaker, time, fail };
  };

  it('opens at the number of failures when they are half of the calls, and not before', () => {
    const { breaker, fail } = make();
    fail(2);
    expect(breaker.state).toBe('closed');
    for (let index = 0; index < 4; index++) breaker.succeeded();
    fail(1);
    expect(breaker.state).toBe('closed');
    fail(1);
    expect([breaker.state, breaker.isOpen, breaker.waitMs()]).toEqual(['open', true, 100]);
  });

  it('forgets failures that are older than the window', () => {
    const { breaker, time, fail } = make();
    fail(2);
    time.now = 1_100;
    fail(2);
    expect(breaker.state).toBe('closed');
    time.now = 1_300;
    fail(1);
    expect(breaker.state).toBe('open');
  });

  it('lets one probe through, which closes it or opens it for twice as long', () => {
    const { breaker, time, fail } = make();
    fail(3);
    time.now = 100;
    expect([breaker.state, breaker.isOpen]).toEqual(['half_open', false]);
    const probe = breaker.begin();
    expect([probe, breaker.isOpen]).toEqual([true, true]);
    breaker.failed(probe);
    expect(breaker.waitMs()).toBe(200);
    time.now = 300;
    breaker.begin();
    breaker.succeeded();
    expect([breaker.state, breaker.isOpen]).toEqual(['closed', false]);
  });

  it('takes a probe that its caller left for nothing, and a late failure of an older call as well', () => {
    const { breaker, time, fail } = make();
    const old = breaker.begin();
    fail(3);
    time.now = 100;
    const probe = breaker.begin();
    breaker.failed(old);
    expect(breaker.state).toBe('half_open');
    breaker.abandoned(probe);
    expect(breaker.isOpen).toBe(false);
  });

  it('keeps calls away for as long as Retry-After says, five minutes at most', () => {
    const { breaker, time } = make();
    breaker.failed(false, 5_000);
    expect([breaker.state, breaker.isOpen, breaker.waitMs()]).toEqual(['closed', true, 5_000]);
    time.now = 5_000;
    expect(breaker.isOpen).toBe(false);
    breaker.failed(false, 86_400_000);
    expect(breaker.waitMs()).toBe(300_000);
  });

  it('never opens where it is turned off', () => {
    const { breaker, fail } = make(0);
    fail(100);
    expect(breaker.isOpen).toBe(false);
  });
});

describe('a kept body', () => {
  it('is whole up to the limit, and above it a stream with every byte', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 })),
        fc.nat(60),
        fc.boolean(),
        async (pieces, limit, isLengthKnown) => {
          const all = Buffer.concat(pieces);
          const body = new Readable({ read() {} });
          for (const piece of pieces) body.push(Buffer.from(piece));
          body.push(null);
          const kept = await keepBody(body, limit, isLengthKnown ? String(all.length) : undefined);
          expect('whole' in kept).toBe(all.length <= limit);
          if ('whole' in kept) {
            expect(kept.whole.equals(all)).toBe(true);
            return;
          }
          const rest: Buffer[] = [];
          for await (const chunk of kept.stream) rest.push(chunk as Buffer);
          expect(Buffer.concat(rest).equals(all)).toBe(true);
          expect(kept.head.length).toBeGreaterThan(limit);
        },
      ),
    );
  });

  it('is none when the caller leaves in the middle', async () => {
    const body = new Readable({ read() {} });
    body.push('half');
    const kept = keepBody(body, 100);
    body.destroy();
    await expect(kept).rejects.toMatchObject({ failure: 'aborted' });
  });
});
