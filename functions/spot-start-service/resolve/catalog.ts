import type { PortainerStack } from '#shared/clients/portainer.ts';
import type { Logger } from '#shared/http/function.ts';
import { type Claim, type Policy, readClaims, readPolicy } from './claims.ts';
import { type Candidate, normaliseStackName } from './match.ts';
import type { Memory } from './memory.ts';
import { usesRegexp } from './rule.ts';
import { projectKey, projectLabel, type Survey, type Surveyor, type Told } from './survey.ts';

export interface Entry extends Candidate {
  stack: PortainerStack | undefined;
  claims: Claim[];
  policy: Policy;
}

export interface CatalogOptions {
  surveyor: Surveyor;
  memory: Memory;
  /** Older than this it is rebuilt in the background, and used meanwhile. */
  ttlMs: number;
  /** Called before claims with regexps are used. */
  loadRegexps: () => Promise<void>;
  now: () => number;
}

interface Known {
  entries: Entry[];
  survey: Survey;
  atMs: number;
}

interface Build {
  survey: Promise<Survey>;
  /** Resolves with everything, or fails when nothing could be read. */
  complete: Promise<Known>;
}

// An unknown name asks Portainer again, but not more often than this: strangers must not make us ask all the time.
const refreshAtMostEveryMs = 5_000;

/** What is there to start, and under which hosts: asked from Portainer, kept, and rebuilt in the background. */
export function createCatalog({ surveyor, memory, ttlMs, loadRegexps, now }: CatalogOptions) {
  let current: Known | undefined;
  let building: Build | undefined;

  async function readAll(told: Told[]): Promise<Claim[]> {
    return (await Promise.all(told.map(({ labels, env }) => readClaims(labels, env)))).flat();
  }

  async function toEntry(
    survey: Survey,
    base: Candidate,
    stack: PortainerStack | undefined,
    log: Logger,
  ): Promise<Entry> {
    const key = projectKey(base.endpoint.id, base.project);
    const live = survey.live.get(key) ?? [];
    const file = stack === undefined ? [] : (survey.files.get(stack.id) ?? []);
    const liveClaims = await readAll(live);
    if (liveClaims.length > 0) await memory.remember(key, liveClaims, log);
    const remembered =
      live.length > 0 ? [] : (await memory.recall(key, log)).map(({ rule }): Claim => ({ source: 'seen', rule }));
    const claims = [...liveClaims, ...(await readAll(file)), ...remembered];
    if (claims.some(({ rule }) => usesRegexp(rule))) await loadRegexps();
    return { ...base, stack, claims, policy: readPolicy([...live, ...file].map(({ labels }) => labels)) };
  }

  /** From what has been read so far. */
  async function assemble(survey: Survey, log: Logger): Promise<Entry[]> {
    const byId = new Map(survey.endpoints.map((endpoint) => [endpoint.id, endpoint]));
    // An orphan's endpoint is gone: there is nowhere to start it.
    const managed = survey.stacks.flatMap((stack) => {
      const endpoint = byId.get(stack.endpointId);
      const project = stack.type === 'swarm' ? stack.name : normaliseStackName(stack.name);
      return endpoint === undefined
        ? []
        : [{ stack, base: { name: stack.name, project, stackId: stack.id, endpoint } }];
    });
    const known = new Set(managed.map(({ base }) => projectKey(base.endpoint.id, base.project)));
    const external = survey.endpoints.flatMap((endpoint) => {
      const here = survey.containers.get(endpoint.id) ?? [];
      const shown = here.filter(({ labels }) => !('io.portainer.hideStack' in labels));
      const projects = new Set(shown.flatMap(({ labels }) => labels[projectLabel] || []));
      return [...projects]
        .filter((project) => !known.has(projectKey(endpoint.id, project)))
        .map((project) => ({ stack: undefined, base: { name: project, project, stackId: null, endpoint } }));
    });
    return Promise.all([...managed, ...external].map(({ stack, base }) => toEntry(survey, base, stack, log)));
  }

  function build(log: Logger): Build {
    if (building !== undefined) return building;
    const survey = surveyor.start();
    const complete = survey.then(async (read) => {
      const before = current?.survey;
      await surveyor.complete(read, log);
      // An endpoint that did not answer this time keeps what it had.
      for (const { id } of read.endpoints) {
        if (read.containers.has(id) || before?.containers.get(id) === undefined) continue;
        read.containers.set(id, before.containers.get(id) ?? []);
        for (const [key, told] of before.live) if (key.startsWith(`${id}/`)) read.live.set(key, told);
      }
      const entries = await assemble(read, log);
      current = { entries, survey: read, atMs: now() };
      return current;
    });
    const done = () => {
      building = undefined;
    };
    complete.then(done, done);
    building = { survey, complete };
    return building;
  }

  return {
    /**
     * Looks in what is known, else in a new survey: first among the stacks' names, then among what the endpoints have
     * told after `patienceMs`, then among all. `find` returns nothing while it is not sure.
     */
    async search<Result>(
      find: (entries: Entry[], part: 'known' | 'stacks' | 'some' | 'all') => Result | undefined,
      { log, patience }: { log: Logger; patience: () => Promise<void> },
    ): Promise<Result | undefined> {
      if (current !== undefined) {
        const age = now() - current.atMs;
        if (age > ttlMs) {
          build(log).complete.catch((error) => log.warn('the index could not be rebuilt', { error }));
        }
        const found = find(current.entries, 'known');
        if (found !== undefined || age < refreshAtMostEveryMs) return found;
      }
      const { survey, complete } = build(log);
      // Whoever stops waiting early must not leave a rejection that nobody handles.
      complete.catch(() => {});
      const read = await survey;
      const byName = find(await assemble(read, log), 'stacks');
      if (byName !== undefined) return byName;
      const early = await Promise.race([complete.then(() => 'all' as const), patience().then(() => 'some' as const)]);
      const some = early === 'some' ? find(await assemble(read, log), 'some') : undefined;
      return some ?? find((await complete).entries, 'all');
    },

    /** Everything there is, asked for now. */
    list: (log: Logger): Promise<Known> => build(log).complete,

    /** Forgets what is known, after it was found wrong. */
    invalidate(): void {
      current = undefined;
    },
  };
}

export type Catalog = ReturnType<typeof createCatalog>;
