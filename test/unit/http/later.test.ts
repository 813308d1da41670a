import { expect, it, vi } from 'vitest';
import type { Handler } from '#shared/http/function.ts';
import { openLater } from '#shared/http/later.ts';
import { makeCall } from '../../support/call.ts';

const answering =
  (text: string): Handler =>
  async () => ({ status: 200, body: text });
const call = (handler: Handler) => {
  const { event, context } = makeCall({ method: 'GET', url: '/' });
  return handler(event, context);
};

it('is opened once, by the first calls together, and answers them and those that follow', async () => {
  const open = vi.fn(async () => answering('here'));
  const handler = openLater(open);
  const answers = await Promise.all([call(handler), call(handler)]);
  answers.push(await call(handler));
  expect(answers.map(({ body }) => body)).toEqual(['here', 'here', 'here']);
  expect(open).toHaveBeenCalledTimes(1);
});

it('is opened a moment after its start when nobody calls, so that its schedules run and the first call is quick', async () => {
  const opened = Promise.withResolvers<void>();
  openLater(async () => {
    opened.resolve();
    return answering('');
  });
  await opened.promise;
});

it('closes what it opened, and opens nothing when it is closed before', async () => {
  const close = vi.fn(async () => {});
  const open = vi.fn(async () => Object.assign(answering(''), { close }));
  const called = openLater(open);
  await call(called);
  await called.close();
  expect(close).toHaveBeenCalledTimes(1);

  vi.useFakeTimers();
  try {
    const never = openLater(open);
    await never.close();
    await vi.advanceTimersByTimeAsync(10_000);
  } finally {
    vi.useRealTimers();
  }
  expect(open).toHaveBeenCalledTimes(1);
});

it('fails the call when it cannot be opened, and tries again with the next one', async () => {
  const open = vi.fn(async () => answering('here')).mockRejectedValueOnce(new Error('no'));
  const handler = openLater(open);
  await expect(call(handler)).rejects.toThrow('no');
  expect((await call(handler)).body).toBe('here');
});
