import type { FunctionHandler } from '#shared/http/define.ts';
import { text } from '#shared/http/respond.ts';
import { createTick } from '#shared/http/tick.ts';
import { metricsContentType } from '#shared/metrics.ts';
import { answerRun } from './answers.ts';
import type { Push } from './open.ts';

/** Path, then method, to what answers. The handler makes 404 and 405 of everything else. */
export type Routes = Record<string, Partial<Record<'GET' | 'POST', FunctionHandler>>>;

/** What the routes of billing need of `openPush`. */
export type PushParts = Pick<Push, 'run' | 'webhook' | 'usage' | 'deadLetters'> & {
  metrics: Pick<Push['metrics'], 'render'>;
};

/** Two tables as one; a path may be in both with other methods. */
const merge = (left: Routes, right: Routes): Routes =>
  Object.fromEntries(
    [...new Set([...Object.keys(left), ...Object.keys(right)])].map((path) => [
      path,
      { ...left[path], ...right[path] },
    ]),
  );

/** Every route of the function; `operations` are the ones around billing (provisioning, usage, reconciliation). */
export function createRoutes(parts: PushParts & { operations?: Routes }): Routes {
  const { run, webhook, usage, deadLetters, metrics, operations = {} } = parts;
  const tick = createTick(async ({ log }) => {
    log.info('scheduled push done', { summary: await run({ dryRun: false, log }) });
  });
  const own: Routes = {
    '/': {
      POST: (event, context) =>
        context.caller.method === 'scheduled-tick' ? tick(context) : answerRun(run, event, context),
    },
    ...(webhook === undefined ? {} : { '/webhook': { POST: webhook } }),
    ...(usage === undefined ? {} : { '/usage': { POST: usage } }),
    '/dead-letters': { GET: deadLetters.list },
    '/dead-letters/retry': { POST: deadLetters.retry },
    '/metrics': { GET: async () => text(200, metrics.render(), { 'Content-Type': metricsContentType }) },
  };
  return merge(own, operations);
}
