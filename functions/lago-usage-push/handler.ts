import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { createTick } from '#shared/http/tick.ts';
import type { Run } from './run.ts';

function readDryRun(query: URLSearchParams): boolean {
  const text = query.get('dry_run') ?? 'false';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, 'dry_run must be true or false', { code: 'bad_parameter' });
}

/** `POST /` runs a push and answers its summary; a scheduled tick is answered at once and runs after it. */
export function createHandler({ run }: { run: Run }): FunctionHandler {
  const tick = createTick(async ({ log }) => {
    log.info('scheduled push done', { summary: await run({ dryRun: false, log }) });
  });

  return async (event, context) => {
    if (event.path !== '/') {
      throw new HttpError(404, 'There is only POST / here', { code: 'not_found' });
    }
    if (event.method !== 'POST') {
      throw new HttpError(405, 'Send POST to push usage', { code: 'method_not_allowed', headers: { Allow: 'POST' } });
    }
    if (context.caller.method === 'scheduled-tick') return tick(context);
    const { log, signal } = context;
    return json(200, await run({ dryRun: readDryRun(event.query), log, signal }));
  };
}
