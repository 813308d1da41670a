import { readText } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { type Alone, readDryRunFirst } from '../provision/route.ts';
import { parseSyncRule } from './rule.ts';
import { type SyncDependencies, sync } from './sync.ts';

/** `POST /sync[?dry_run=false]` with a plan rule, YAML or JSON: who is on one side only, or what was done about it. */
export const createSyncRoute =
  (dependencies: SyncDependencies, alone: Alone): FunctionHandler =>
  async (event, { signal }) => {
    const dryRun = readDryRunFirst(event.query);
    const rule = await parseSyncRule(await readText(event));
    const work = () => sync(dependencies, rule, { dryRun, signal });
    return json(200, await (dryRun ? work() : alone(work)));
  };
