import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { readLagoVersion } from '#shared/clients/lago-http.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import type { Change } from '../../functions/lago-usage-push/provision/diff.ts';
import { parsePlanFile } from '../../functions/lago-usage-push/provision/plan-file.ts';
import { type ProvisionResult, provision } from '../../functions/lago-usage-push/provision/provision.ts';

const signs: Record<Change['action'], string> = {
  create: '+',
  update: '~',
  unchanged: '=',
  only_in_lago: '?',
  conflict: '!',
};

/** One line for each thing, and one below for each of its differences. */
export function toLines(changes: Change[]): string[] {
  return changes.flatMap(({ kind, id, action, changes: differences = {}, note }) => [
    `${signs[action]} ${kind} ${id}${note === undefined ? '' : `  (${note})`}`,
    ...Object.entries(differences).map(
      ([name, { from, to }]) => `    ${name}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`,
    ),
  ]);
}

export interface ProvisionCall {
  baseUrl: string;
  apiKey: string;
  plan: string;
  dryRun: boolean;
  /** Asked once the difference was shown. */
  confirm: (question: string) => Promise<boolean>;
  print: (line: string) => void;
}

/** Shows what would change in Lago, asks, and does it. Resolves with what was found or done. */
export async function runProvision(call: ProvisionCall): Promise<ProvisionResult> {
  const { baseUrl, plan, dryRun, confirm, print } = call;
  const options = { baseUrl, apiKey: () => call.apiKey, timeoutMs: 15_000 };
  const dependencies = {
    plans: createLagoPlansClient(options),
    customers: createLagoCustomersClient(options),
    version: (signal?: AbortSignal) => readLagoVersion(options, signal),
  };
  const file = await parsePlanFile(plan);
  const shown = await provision(dependencies, file, { dryRun: true });
  print(`Lago ${shown.lago_version} at ${baseUrl}`);
  for (const line of toLines(shown.changes)) print(line);
  const wanted = shown.changes.filter(({ action }) => action === 'create' || action === 'update').length;
  const conflicts = shown.changes.filter(({ action }) => action === 'conflict').length;
  if (conflicts > 0) {
    print(`${conflicts} of these (!) Lago has otherwise and cannot change: nothing is done.`);
    return shown;
  }
  if (wanted === 0) print('Nothing to do.');
  if (wanted === 0 || dryRun || !(await confirm(`Change these ${wanted} in Lago?`))) return shown;
  const done = await provision(dependencies, file, { dryRun: false });
  print(`Done: ${done.applied} calls changed Lago.`);
  return done;
}
