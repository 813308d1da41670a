import { HttpError } from '#shared/errors.ts';
import { readText } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import type { Store } from '#shared/store/store.ts';
import { parsePlanFile } from './plan-file.ts';
import { type ProvisionDependencies, provision } from './provision.ts';

/** What sets Lago up shows the difference first: only `dry_run=false` changes anything. Throws HttpError 400. */
export function readDryRunFirst(query: URLSearchParams): boolean {
  const text = query.get('dry_run') ?? 'true';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, 'dry_run must be true or false', { code: 'bad_parameter' });
}

/** Runs `work` alone over all replicas: two at once could both make the same charge. Throws HttpError 409. */
export type Alone = <T>(work: () => Promise<T>) => Promise<T>;

// As long as the platform lets a call take; a killed one is waited for.
const leaseMs = 5 * 60 * 1000;

export const createAlone =
  (store: Pick<Store, 'lease'>): Alone =>
  async (work) => {
    const lease = await store.lease('operations', leaseMs);
    if (lease === null) {
      throw new HttpError(409, 'Lago is being set up by another call: try again', { code: 'operation_in_progress' });
    }
    try {
      return await work();
    } finally {
      await lease.release();
    }
  };

/** `POST /provision[?dry_run=false]` with a plan file, YAML or JSON: the difference, or what was done about it. */
export const createProvisionRoute =
  (dependencies: ProvisionDependencies, alone: Alone): FunctionHandler =>
  async (event, { signal }) => {
    const dryRun = readDryRunFirst(event.query);
    const file = await parsePlanFile(await readText(event));
    const work = () => provision(dependencies, file, { dryRun, signal });
    return json(200, await (dryRun ? work() : alone(work)));
  };
