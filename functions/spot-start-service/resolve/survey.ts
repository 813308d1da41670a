import type {
  PortainerClient,
  PortainerContainer,
  PortainerEndpoint,
  PortainerStack,
  SwarmService,
} from '#shared/clients/portainer.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { FileService } from '../stack/file.ts';
import type { StackFiles } from '../stack/files.ts';
import { proxyVariables } from './claims.ts';

/** Labels and proxy variables of one container, Swarm service or service of a file. */
export interface Told {
  labels: Record<string, string>;
  env: Record<string, string>;
}

/** What Portainer was seen to have; filled as the answers come, so that one slow host holds back its own part only. */
export interface Survey {
  endpoints: PortainerEndpoint[];
  stacks: PortainerStack[];
  containers: Map<number, PortainerContainer[]>;
  /** Of Swarms, by endpoint. */
  services: Map<number, SwarmService[]>;
  /** By endpoint and project. */
  live: Map<string, Told[]>;
  files: Map<number, FileService[]>;
}

export interface SurveyOptions {
  portainer: PortainerClient;
  files: StackFiles;
  /** Of each endpoint's list: one dead host must not delay the others. */
  endpointTimeoutMs: number;
}

const parallelEndpoints = 8;
const parallelFiles = 6;
export const projectLabel = 'com.docker.compose.project';
export const projectKey = (endpointId: number, project: string) => `${endpointId}/${project}`;

async function inParallel<Item>(items: Item[], limit: number, work: (item: Item) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}

/** Looks at everything that Portainer has: endpoints side by side, those that look dead last. */
export function createSurveyor({ portainer, files, endpointTimeoutMs }: SurveyOptions) {
  // A container's environment never changes: it is read once, and only where an nginx-proxy could act on it.
  const environments = new Map<string, Record<string, string>>();

  async function readEnvironment(endpointId: number, id: string): Promise<Record<string, string>> {
    const known = environments.get(id);
    if (known !== undefined) return known;
    const call = { variables: proxyVariables, timeoutMs: endpointTimeoutMs, retry: false };
    const { env } = await portainer.inspectContainer(endpointId, id, call);
    if (environments.size > 5_000) environments.clear();
    environments.set(id, env);
    return env;
  }

  async function surveyEndpoint(survey: Survey, { id }: PortainerEndpoint, log: Logger): Promise<void> {
    const call = { timeoutMs: endpointTimeoutMs, retry: false };
    const containers = await portainer.listContainers(id, call);
    const add = (project: string | undefined, told: Told) => {
      if (project === undefined || project === '') return;
      const key = projectKey(id, project);
      survey.live.set(key, [...(survey.live.get(key) ?? []), told]);
    };
    const hasNginxProxy = containers.some(({ image }) => /nginx-?proxy|docker-gen/i.test(image));
    const told = new Map<string, Record<string, string>>();
    if (hasNginxProxy) {
      const projects = containers.filter(({ labels }) => projectLabel in labels);
      await inParallel(projects, parallelFiles, async ({ id: containerId }) => {
        told.set(containerId, await readEnvironment(id, containerId).catch(() => ({})));
      });
    }
    for (const { labels, id: containerId } of containers) {
      add(labels[projectLabel], { labels, env: told.get(containerId) ?? {} });
    }
    if (survey.stacks.some((stack) => stack.type === 'swarm' && stack.endpointId === id)) {
      const services = await portainer.listServices(id, call).catch((error) => {
        log.warn('the services of a Swarm cannot be read', { endpoint_id: id, error });
        return [];
      });
      survey.services.set(id, services);
      for (const { namespace, labels } of services) add(namespace, { labels, env: {} });
    }
    survey.containers.set(id, containers);
  }

  return {
    /** Endpoints and stacks; everything that a name needs. */
    async start(): Promise<Survey> {
      const [endpoints, stacks] = await Promise.all([portainer.listEndpoints(), portainer.listStacks()]);
      return { endpoints, stacks, containers: new Map(), services: new Map(), live: new Map(), files: new Map() };
    },

    /** Containers and files. Fails only when no endpoint answers at all; resolves with how many did not. */
    async complete(survey: Survey, log: Logger): Promise<number> {
      const reachable = survey.endpoints
        .filter(({ kind }) => kind === 'docker')
        .toSorted((one, other) => Number(other.up) - Number(one.up));
      const errors: unknown[] = [];
      const ids = new Set(survey.endpoints.map(({ id }) => id));
      await Promise.all([
        inParallel(reachable, parallelEndpoints, async (endpoint) => {
          try {
            await surveyEndpoint(survey, endpoint, log);
          } catch (error) {
            errors.push(error);
            log.warn('an endpoint cannot be read', { endpoint_id: endpoint.id, error });
          }
        }),
        inParallel(
          survey.stacks.filter(({ endpointId }) => ids.has(endpointId)),
          parallelFiles,
          async (stack) => {
            try {
              const services = await files.read(stack, log);
              if (services !== undefined) survey.files.set(stack.id, services);
            } catch (error) {
              if (!(error instanceof UpstreamError)) throw error;
              log.warn('a stack file cannot be read', { stack_id: stack.id, error });
            }
          },
        ),
      ]);
      if (errors.length > 0 && errors.length === reachable.length) throw errors[0];
      return errors.length;
    },
  };
}

export type Surveyor = ReturnType<typeof createSurveyor>;
