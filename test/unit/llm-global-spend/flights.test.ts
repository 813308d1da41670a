import { expect, it } from 'vitest';
import { createFlights } from '../../../functions/llm-global-spend/memory/flights.ts';

const never = new AbortController().signal;

it('starts work once for all who want the same at the same time, and again afterwards', async () => {
  const share = createFlights();
  let starts = 0;
  const work = async () => ++starts;
  expect(await Promise.all([share('a', never, work), share('a', never, work), share('b', never, work)])).toEqual([
    1, 1, 2,
  ]);
  expect(await share('a', never, work)).toBe(3);
});

it('goes on for those who stay, and is aborted when nobody is left', async () => {
  const share = createFlights();
  const [first, second] = [new AbortController(), new AbortController()];
  let aborted = false;
  const work = (signal: AbortSignal) =>
    new Promise<string>(() => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
    });
  const one = share('a', first.signal, work);
  const two = share('a', second.signal, work);
  first.abort(new Error('gone'));
  await expect(one).rejects.toThrow('gone');
  expect(aborted).toBe(false);
  second.abort(new Error('gone too'));
  await expect(two).rejects.toThrow('gone too');
  expect(aborted).toBe(true);
  expect(await share('a', never, async () => 'new')).toBe('new');
});

it('fails for everyone, once', async () => {
  const share = createFlights();
  const work = async () => {
    throw new Error('broken');
  };
  const outcomes = await Promise.allSettled([share('a', never, work), share('a', never, work)]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});
