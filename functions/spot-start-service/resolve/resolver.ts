import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { toCandidate } from '../answer.ts';
import type { Observer } from '../run/observe.ts';
import type { ListedService, Scope, Wanted } from '../service.ts';
import { decide } from '../stack/decide.ts';
import type { Catalog, Entry } from './catalog.ts';
import type { HostMapping } from './map.ts';
import { type Candidate, type Found, matchHost, matchName } from './match.ts';
import type { Matches } from './rule.ts';

export interface ResolverOptions {
  catalog: Catalog;
  judge: Observer['judge'];
  map: HostMapping[];
  matches: Matches;
  nameDomains: string[];
  requireLabel: boolean;
  /** How long a host is looked for among the endpoints that answered before the slow ones are waited for. */
  patience: () => Promise<void>;
}

interface Match {
  items: Entry[];
  hostIsKnown: boolean;
}

const ambiguous = (shown: string, items: Candidate[]) =>
  new HttpError(409, `More than one service is meant by ${shown}: name one by service, endpoint and stack_id`, {
    code: 'ambiguous_service',
    more: { candidates: items.map(toCandidate) },
  });

/** From what a caller named to the one service that is meant. */
export function createResolver(options: ResolverOptions) {
  const { catalog, judge, map, matches, nameDomains, requireLabel, patience } = options;

  const isMapped = (candidate: Candidate) =>
    map.some(({ stack, endpoint }) => matchName([candidate], stack, { endpoint }).length > 0);
  // Visitors find by host only what its owner has not opted out of.
  const isOpen = (entry: Entry) => {
    const mapped = isMapped(entry);
    return entry.policy.enabled !== false && (!requireLabel || entry.policy.labelled || mapped);
  };

  async function search({ service, host, path = '/', endpoint, stackId }: Wanted, log: Logger): Promise<Match> {
    const found = await catalog.search<Match>(
      (entries, part) => {
        if (host === undefined) {
          const items = matchName(entries, service, { endpoint, stackId });
          return items.length > 0 ? { items, hostIsKnown: false } : undefined;
        }
        // The stacks alone do not tell their hosts.
        if (part === 'stacks') return undefined;
        const match = matchHost(entries.filter(isOpen), { host, path }, { map, matches, nameDomains });
        const isWeak = match.source === 'name' || match.source === 'seen';
        if (match.items.length === 0 || (part === 'some' && isWeak)) return undefined;
        return match;
      },
      { log, patience },
    );
    return found ?? { items: [], hostIsKnown: false };
  }

  return {
    isMapped,
    invalidate: () => catalog.invalidate(),

    async resolve(wanted: Wanted, { log }: Pick<Scope, 'log'>): Promise<Found> {
      const { items, hostIsKnown } = await search(wanted, log);
      const shown = wanted.shown ?? wanted.host ?? wanted.service ?? `stack ${wanted.stackId}`;
      const [entry] = items;
      if (entry === undefined) {
        const what =
          wanted.host === undefined ? `No service named ${shown}` : `No service found for referral URL: ${shown}`;
        throw new HttpError(404, what, { code: 'service_not_found' });
      }
      if (items.length > 1) throw ambiguous(shown, items);
      const { name, project, endpoint, stackId, policy } = entry;
      const labelled = policy.enabled !== false && (policy.labelled || isMapped(entry));
      return { name, project, endpoint, stackId, labelled, hostIsKnown };
    },

    /** What a stack's `spot-start.requires` names: on its own endpoint before any other. */
    async required(name: string, by: Candidate, log: Logger): Promise<Candidate> {
      const { items } = await search({ service: name }, log);
      const near = items.filter(({ endpoint }) => endpoint.id === by.endpoint.id);
      const [entry, ...others] = near.length > 0 ? near : items;
      if (entry === undefined) {
        const message = `Service ${by.name} requires ${name}, and there is no such service`;
        throw new HttpError(409, message, { code: 'required_not_found' });
      }
      if (others.length > 0) throw ambiguous(`${name}, which ${by.name} requires`, [entry, ...others]);
      return entry;
    },

    async list(log: Logger): Promise<ListedService[]> {
      const { entries, survey } = await catalog.list(log);
      return Promise.all(
        entries.map(async (entry): Promise<ListedService> => {
          const { name, project, endpoint, stackId, stack } = entry;
          const base = { name, project, endpoint, stackId };
          const listed = survey.containers.get(endpoint.id);
          if (endpoint.kind !== 'docker' || stack?.type === 'kubernetes') {
            return { ...base, verdict: 'unsupported', startable: false };
          }
          if (listed === undefined) return { ...base, verdict: 'unknown', startable: isOpen(entry) };
          const services = survey.services.get(endpoint.id) ?? [];
          const seen = await judge(entry, { stack, listed, services }, log);
          return { ...base, verdict: seen.verdict, startable: isOpen(entry) && decide(seen).kind !== 'refuse' };
        }),
      );
    },
  };
}

export type Resolver = ReturnType<typeof createResolver>;
