import type { FunctionHandler } from '#shared/http/define.ts';
import { createTick } from '#shared/http/tick.ts';
import { answerRun } from './answers.ts';
import type { Run } from './run.ts';

/** Path, then method, to what answers. The handler makes 404 and 405 of everything else. */
export type Routes = Record<string, Partial<Record<'GET' | 'POST', FunctionHandler>>>;

/** Every route of the function; `operations` are the ones around billing (provisioning, usage, reconciliation). */
export function createRoutes({ run, operations = {} }: { run: Run; operations?: Routes }): Routes {
  const tick = createTick(async ({ log }) => {
    log.info('scheduled push done', { summary: await run({ dryRun: false, log }) });
  });
  return {
    '/': {
      POST: (event, context) =>
        context.caller.method === 'scheduled-tick' ? tick(context) : answerRun(run, event, context),
    },
    ...operations,
  };
}
