import type { Found } from '../resolve/match.ts';
import type { Scope, SpotService, Wanted } from '../service.ts';
import { GoneError } from './looks.ts';

/** Runs on the service that is meant; once more where what the index had is gone, as after a stack was deployed anew. */
export async function onFound<Result>(
  service: Pick<SpotService, 'resolve'>,
  wanted: Wanted,
  scope: Scope,
  run: (found: Found) => Promise<Result>,
): Promise<Result> {
  try {
    return await run(await service.resolve(wanted, scope));
  } catch (error) {
    if (!(error instanceof GoneError)) throw error;
    return run(await service.resolve(wanted, scope));
  }
}
