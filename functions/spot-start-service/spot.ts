import { HttpError } from '#shared/errors.ts';
import { toCandidate } from './answer.ts';
import type { Discovery } from './discover.ts';
import type { Scope, SpotService, Wanted } from './service.ts';
import type { Starter } from './start.ts';

/** The service behind every route. */
export function createSpotService({ discovery, start }: { discovery: Discovery; start: Starter }): SpotService {
  return {
    async resolve(wanted: Wanted, scope: Scope) {
      const targets = await discovery.find(wanted, scope);
      const shown = wanted.shown ?? wanted.host ?? wanted.service ?? '';
      const [target] = targets;
      if (target === undefined) {
        const what =
          wanted.host === undefined ? `No service named ${shown}` : `No service found for referral URL: ${shown}`;
        throw new HttpError(404, what, { code: 'service_not_found' });
      }
      if (targets.length > 1) {
        const message = `More than one service is meant by ${shown}: name one by service, endpoint and stack_id`;
        throw new HttpError(409, message, {
          code: 'ambiguous_service',
          more: { candidates: targets.map(toCandidate) },
        });
      }
      return { ...target, labelled: false, hostIsKnown: false };
    },
    status: (candidate) => start.look(candidate),
    async wake(candidate, _options, { log }) {
      const { action, status } = await start.run(candidate, log);
      return { action, verdict: status ?? 'stopped', finished: true, containers: [] };
    },
  };
}
