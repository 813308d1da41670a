import type {
  ContainerInspection,
  PortainerClient,
  PortainerContainer,
  PortainerStack,
  SwarmService,
} from '#shared/clients/portainer.ts';
import type { Logger } from '#shared/http/function.ts';
import { type Policy, readPolicy } from '../resolve/claims.ts';
import type { Candidate } from '../resolve/match.ts';
import { classifyContainers, needsInspection, type ObservedContainer, toObserved } from '../stack/containers.ts';
import { type Situation, toVerdict, type Verdict } from '../stack/decide.ts';
import type { FileService } from '../stack/file.ts';
import type { StackFiles } from '../stack/files.ts';
import { protectionOf } from '../stack/protect.ts';

export interface Observation extends Situation {
  stack: PortainerStack | undefined;
  verdict: Verdict;
  policy: Policy;
}

export interface Listed {
  stack: PortainerStack | undefined;
  /** Of the whole endpoint. */
  listed: PortainerContainer[];
  services: SwarmService[];
}

export interface ObserverOptions {
  portainer: PortainerClient;
  files: StackFiles;
  protectedNames: string[];
  /** When a start by us failed last. */
  failedAtMs: (candidate: Candidate) => number | undefined;
  now: () => number;
}

// What an inspection says of restart policy, healthcheck and ports stays; of restarts and times it does not.
const keepInspectionMs = 5_000;

/** Looks at one service: its stack, its containers, and what its file says should be there. */
export function createObserver({ portainer, files, protectedNames, failedAtMs, now }: ObserverOptions) {
  const inspections = new Map<string, { key: string; atMs: number; value: ContainerInspection }>();

  async function inspect(endpointId: number, item: ObservedContainer): Promise<ObservedContainer> {
    if (!needsInspection(item)) return item;
    const key = `${item.state}/${item.health}/${item.exitCode}`;
    const known = inspections.get(item.id);
    // A container that has exited does not change until it starts again.
    const lasts = item.state === 'exited' || (known !== undefined && now() - known.atMs < keepInspectionMs);
    if (known?.key === key && lasts) return { ...item, inspection: known.value };
    const value = await portainer.inspectContainer(endpointId, item.id);
    if (inspections.size > 2_000) inspections.clear();
    inspections.set(item.id, { key, atMs: now(), value });
    return { ...item, inspection: value };
  }

  function protection(name: string, containers: PortainerContainer[], file: FileService[]): string | undefined {
    const inspected = containers.map((item) => {
      const { hostPorts = [] } = (item as ObservedContainer).inspection ?? {};
      return { ...item, hostPorts: [...item.hostPorts, ...hostPorts] };
    });
    return protectionOf(name, [...inspected, ...file], protectedNames);
  }

  /** From what was listed; inspections and the file are read where they decide, and kept. */
  async function judge(candidate: Candidate, { stack, listed, services }: Listed, log: Logger): Promise<Observation> {
    const { endpoint, project, name } = candidate;
    const moment = { nowMs: now(), failedAtMs: failedAtMs(candidate) };
    const [containers, file = []] = await Promise.all([
      Promise.all(toObserved(listed, project).map((item) => inspect(endpoint.id, item))),
      stack === undefined ? undefined : files.read(stack, log),
    ]);
    const isSwarm = stack?.type === 'swarm';
    const expected = containers.length === 0 ? [] : file.filter((item) => item.expected).map((item) => item.name);
    const ours = services.filter(({ namespace }) => namespace === project);
    const situation: Situation & { stack: PortainerStack | undefined } = {
      name,
      stack,
      endpointKind: endpoint.kind,
      containers: isSwarm ? [] : classifyContainers(containers, moment),
      missing: expected.filter((service) => !isThere(service, listed, project)),
      services: ours,
      protection: protection(name, containers, file),
      nowMs: moment.nowMs,
    };
    const labelSets = [...containers, ...ours, ...file].map(({ labels }) => labels);
    return { ...situation, verdict: toVerdict(situation), policy: readPolicy(labelSets) };
  }

  return {
    judge,

    /** Asks Portainer: two calls for a healthy stack of compose. */
    async observe(candidate: Candidate, log: Logger): Promise<Observation> {
      const { endpoint, stackId } = candidate;
      const isReachable = endpoint.kind === 'docker';
      const [stack, listed] = await Promise.all([
        stackId === null ? undefined : portainer.getStack(stackId),
        isReachable ? portainer.listContainers(endpoint.id) : [],
      ]);
      const isSwarm = stack?.type === 'swarm' && isReachable;
      const services = isSwarm ? await portainer.listServices(endpoint.id) : [];
      return judge(candidate, { stack, listed, services }, log);
    },
  };
}

/** Also one that is ignored is there. */
const isThere = (service: string, listed: PortainerContainer[], project: string) =>
  listed.some(
    ({ labels }) =>
      labels['com.docker.compose.project'] === project && labels['com.docker.compose.service'] === service,
  );

export type Observer = ReturnType<typeof createObserver>;
export type Observe = Observer['observe'];
