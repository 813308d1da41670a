import { HttpError } from '#shared/errors.ts';
import { readText } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { parsePlanFile } from './plan-file.ts';
import { type ProvisionDependencies, provision } from './provision.ts';

/** What sets Lago up shows the difference first: only `dry_run=false` changes anything. Throws HttpError 400. */
export function readDryRunFirst(query: URLSearchParams): boolean {
  const text = query.get('dry_run') ?? 'true';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, 'dry_run must be true or false', { code: 'bad_parameter' });
}

/** `POST /provision[?dry_run=false]` with a plan file, YAML or JSON: the difference, or what was done about it. */
export const createProvisionRoute =
  (dependencies: ProvisionDependencies): FunctionHandler =>
  async (event, { signal }) => {
    const dryRun = readDryRunFirst(event.query);
    const file = parsePlanFile(await readText(event));
    return json(200, await provision(dependencies, file, { dryRun, signal }));
  };
