import type { PortainerClient, PortainerContainer, PortainerStack } from '#shared/clients/portainer.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { type Candidate, matchHost, matchName, normaliseStackName } from './resolve.ts';
import type { Wanted } from './service.ts';
import { parseStackFile } from './stack-file.ts';

export type Target = Candidate;

interface CallScope {
  log: Logger;
  signal: AbortSignal;
}

const projectLabel = 'com.docker.compose.project';
const parallelFiles = 6;

/** Finds what a caller means by asking Portainer: there is no map to keep. */
export function createDiscovery(portainer: PortainerClient) {
  // A file changes only with its stack's UpdateDate.
  const files = new Map<string, string>();

  async function readFile({ id, updatedAt }: PortainerStack, { log, signal }: CallScope): Promise<string | undefined> {
    const key = `${id}:${updatedAt}`;
    const known = files.get(key);
    if (known !== undefined) return known;
    try {
      const text = await portainer.stackFile(id, { signal });
      if (files.size > 1_000) files.clear();
      files.set(key, text);
      return text;
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.failure !== 'status') throw error;
      log.warn('a stack file cannot be read', { stack_id: id, status: error.status });
      return undefined;
    }
  }

  /** Containers of every endpoint that answers; fails only when none does. */
  async function listAll(endpoints: { id: number }[], { log, signal }: CallScope) {
    const found = new Map<number, PortainerContainer[]>();
    const errors: unknown[] = [];
    await Promise.all(
      endpoints.map(async ({ id }) => {
        try {
          found.set(id, await portainer.listContainers(id, { signal }));
        } catch (error) {
          errors.push(error);
          log.warn('an endpoint cannot be read', { endpoint_id: id, error });
        }
      }),
    );
    if (found.size === 0 && errors.length > 0) throw errors[0];
    return found;
  }

  async function labelsOfSleeping(stack: PortainerStack, scope: CallScope): Promise<Record<string, string>[]> {
    const text = await readFile(stack, scope);
    return (text === undefined ? undefined : parseStackFile(text, stack.env))?.labels ?? [];
  }

  return {
    readFile,

    /** Nobody, one, or several whose name or host it could be. */
    async find({ service, host, endpoint, stackId }: Wanted, scope: CallScope): Promise<Target[]> {
      const { signal } = scope;
      const [endpoints, stacks] = await Promise.all([
        portainer.listEndpoints({ signal }),
        portainer.listStacks({ signal }),
      ]);
      const named = new Map(endpoints.map((item) => [item.id, item]));
      // An orphan's endpoint is gone: there is nowhere to start it.
      const managed = stacks.flatMap((stack) => {
        const its = named.get(stack.endpointId);
        const target = { name: stack.name, project: normaliseStackName(stack.name), stackId: stack.id };
        return its === undefined ? [] : [{ ...target, endpoint: its, stack }];
      });
      const told = { endpoint, stackId };
      if (service !== undefined) {
        const matches = matchName(managed, service, told);
        if (matches.length > 0) return matches;
      }

      const containers = await listAll(endpoints, scope);
      const labelsOf = (endpointId: number, project: string) =>
        (containers.get(endpointId) ?? [])
          .filter(({ labels }) => labels[projectLabel] === project)
          .map(({ labels }) => labels);
      const external = endpoints.flatMap((its) => {
        const projects = new Set((containers.get(its.id) ?? []).flatMap(({ labels }) => labels[projectLabel] ?? []));
        return [...projects]
          .filter((project) => !managed.some((item) => item.endpoint.id === its.id && item.project === project))
          .map((project) => ({
            name: project,
            project,
            stackId: null,
            endpoint: its,
            labels: labelsOf(its.id, project),
          }));
      });
      if (service !== undefined) return matchName(external, service, told);
      if (host === undefined) return [];

      const asleep = managed.filter(({ endpoint: its, project }) => labelsOf(its.id, project).length === 0);
      const fileLabels = new Map<number, Record<string, string>[]>();
      for (let from = 0; from < asleep.length; from += parallelFiles) {
        const some = asleep.slice(from, from + parallelFiles);
        await Promise.all(
          some.map(async ({ stack }) => fileLabels.set(stack.id, await labelsOfSleeping(stack, scope))),
        );
      }
      const all = managed.map((item) => ({
        ...item,
        labels: fileLabels.get(item.stackId) ?? labelsOf(item.endpoint.id, item.project),
      }));
      return matchHost<Target & { labels: Record<string, string>[] }>([...all, ...external], host);
    },
  };
}

export type Discovery = ReturnType<typeof createDiscovery>;
