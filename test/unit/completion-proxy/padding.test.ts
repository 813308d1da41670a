import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Answer } from '../../../functions/completion-proxy/road/answer.ts';
import { flowsThroughEveryHop, Padding, pad, padBytes } from '../../../functions/completion-proxy/road/padding.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const event = Buffer.from('data: {}\n\n');

/** An answer whose reader takes all that comes, and the padding of it. */
function open() {
  const answer = new Answer();
  const state = { isAtBoundary: true, counted: 0, taken: [] as Buffer[], padsAt: [] as number[] };
  const body = answer.take();
  if (Buffer.isBuffer(body)) throw new Error('no stream');
  body
    .on('error', () => {})
    .on('data', (chunk: Buffer) => {
      state.taken.push(chunk);
      if (chunk === pad) state.padsAt.push(Date.now());
    });
  const padding = new Padding(
    answer,
    () => state.isAtBoundary,
    (bytes) => {
      state.counted += bytes;
    },
  );
  const write = (chunk = event) => padding.pass(chunk);
  const pads = () => state.taken.filter((chunk) => chunk === pad).length;
  return { answer, body, padding, state, write, pads };
}

describe('a pad', () => {
  it('is 16 KiB of short comment lines with an empty line at its end, in one piece', () => {
    const text = pad.toString('latin1');
    expect(pad.length).toBe(padBytes);
    expect(padBytes).toBe(16_384);
    expect(text).toMatch(/^(: +\n)+\n$/);
    expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(1_024);
  });
});

describe('whose stream is padded', () => {
  it.each([
    undefined,
    'application/json',
    '*/*',
    'application/x-ndjson',
    'text/event-stream, */*',
    'TEXT/event-stream',
  ])('one with Accept: %s, as some hop keeps it back', (accept) => expect(flowsThroughEveryHop(accept)).toBe(false));
  it('not one with exactly text/event-stream', () => expect(flowsThroughEveryHop('text/event-stream')).toBe(true));
});

describe('padding', () => {
  it('follows what was written after 50 ms, so that what comes together shares it, and counts its bytes', async () => {
    const { write, pads, state } = open();
    await vi.advanceTimersByTimeAsync(1_000);
    write();
    await vi.advanceTimersByTimeAsync(30);
    write();
    await vi.advanceTimersByTimeAsync(19);
    expect(pads()).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(state.taken).toEqual([event, event, pad]);
    expect(state.counted).toBe(padBytes);
  });

  it('goes into no silence: without anything new there is none, and no timer either', async () => {
    const { write, pads } = open();
    write();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(pads()).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
    write();
    await vi.advanceTimersByTimeAsync(50);
    expect(pads()).toBe(2);
  });

  it('comes 250 ms after the one before at the earliest, and within 250 ms of what was written', async () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(gaps, async (waits) => {
        const { write, state, padding } = open();
        const writtenAt: number[] = [];
        for (const wait of waits) {
          write();
          writtenAt.push(Date.now());
          await vi.advanceTimersByTimeAsync(wait);
        }
        await vi.advanceTimersByTimeAsync(1_000);
        const { padsAt } = state;
        for (const [index, at] of padsAt.entries()) {
          if (index > 0) expect(at - padsAt[index - 1]!).toBeGreaterThanOrEqual(250);
        }
        for (const at of writtenAt) {
          expect(padsAt.some((padAt) => padAt >= at && padAt - at <= 250)).toBe(true);
        }
        padding.stop();
      }),
      { numRuns: 50 },
    );
  });

  it.each(['\n', '\r\n'])('waits while an event is half written, and is behind its end, breaks %j', async (newline) => {
    const { write, state, pads } = open();
    state.isAtBoundary = false;
    write(Buffer.from('data: '));
    await vi.advanceTimersByTimeAsync(2_000);
    write(Buffer.from('{'));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(pads()).toBe(0);
    expect(write(Buffer.from(`}${newline}${newline}data: `))).toBe(true);
    expect(state.taken.map(String)).toEqual(['data: ', '{', `}${newline}${newline}`, pad.toString(), 'data: ']);
    await vi.advanceTimersByTimeAsync(249);
    expect(write(Buffer.from(`{}${newline}${newline}`))).toBe(true);
    expect(pads()).toBe(1);
    state.isAtBoundary = true;
    await vi.advanceTimersByTimeAsync(1);
    expect(pads()).toBe(2);
    expect(state.counted).toBe(2 * padBytes);
  });

  it('waits for a caller who takes less than comes', async () => {
    const { write, pads, body } = open();
    body.pause();
    write();
    await vi.advanceTimersByTimeAsync(2_000);
    body.resume();
    await vi.advanceTimersByTimeAsync(0);
    expect(pads()).toBe(0);
    await vi.advanceTimersByTimeAsync(250);
    expect(pads()).toBe(1);
  });

  it('waits for the answer to be sent at all', async () => {
    const answer = new Answer();
    const padding = new Padding(
      answer,
      () => true,
      () => {},
    );
    padding.pass(event);
    await vi.advanceTimersByTimeAsync(2_000);
    answer.finish();
    await vi.advanceTimersByTimeAsync(2_000);
    const taken: Buffer[] = [];
    for await (const chunk of answer.take() as AsyncIterable<Buffer>) taken.push(chunk);
    expect(taken).toEqual([event]);
  });

  it.each<[string, (opened: ReturnType<typeof open>) => void]>([
    ['is stopped', ({ padding }) => padding.stop()],
    ['has its last byte', ({ answer }) => answer.finish()],
    ['was cut', ({ answer }) => answer.destroy(new Error('cut'))],
    ['has lost its caller', ({ body }) => void body.destroy()],
  ])('ends once the answer %s', async (_, end) => {
    const opened = open();
    opened.write();
    end(opened);
    await vi.advanceTimersByTimeAsync(1_000);
    opened.write();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(opened.pads()).toBe(0);
    expect(opened.state.counted).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
