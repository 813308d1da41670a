import type { Handler } from './function.ts';

/** A function that nobody called by then loads what answers a call all the same: the first call finds it there. */
const patienceMs = 50;

/**
 * A function in two steps, for a quick start: what is loaded at once checks the settings, and `open` makes what answers,
 * with the first call or a moment after the start. It rejects for a fault alone, as bad settings are found before: then the
 * process ends, or the call fails and the next one tries again.
 */
export function openLater(open: () => Promise<Handler>): Handler & Required<Pick<Handler, 'close'>> {
  let opening: Promise<Handler> | undefined;
  let opened: Handler | undefined;
  async function begin(): Promise<Handler> {
    clearTimeout(timer);
    opening ??= open();
    opening.catch(() => {
      opening = undefined;
    });
    opened = await opening;
    return opened;
  }
  const timer = setTimeout(begin, patienceMs);
  const handler: Handler = (event, context) =>
    opened === undefined ? begin().then((made) => made(event, context)) : opened(event, context);
  return Object.assign(handler, {
    async close() {
      clearTimeout(timer);
      await (await opening)?.close?.();
    },
  });
}
