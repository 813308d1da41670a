import { HttpError } from '#shared/errors.ts';
import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import type { Run } from './schedule/run.ts';

/** A query parameter that is `true` or `false`, false when absent. Throws HttpError 400 `bad_parameter`. */
export function readFlag(query: URLSearchParams, name: string): boolean {
  const text = query.get(name) ?? 'false';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, `${name} must be true or false`, { code: 'bad_parameter' });
}

/** `POST /`: a push, answered with its summary. */
export async function answerRun(run: Run, event: FunctionEvent, context: CallContext): Promise<FunctionResponse> {
  const { log, signal } = context;
  return json(200, await run({ dryRun: readFlag(event.query, 'dry_run'), log, signal }));
}
