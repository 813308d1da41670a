import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import { createHttpClient, type HttpClient, type HttpRequest } from './http.ts';
import { createPortainerSession, type PortainerCredentials } from './portainer-session.ts';

export interface PortainerClientOptions {
  /** Where Portainer answers, without `/api`. */
  baseUrl: string;
  /** Read for each login or call, so that a rotated secret is used at once. An API key is preferred to a login. */
  credentials: () => PortainerCredentials;
  /** Deadline of everything but start and stop. */
  timeoutMs: number;
  tls?: { ca?: string; insecure?: boolean };
  now?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface PortainerEndpoint {
  id: number;
  name: string;
}

export interface PortainerStack {
  id: number;
  name: string;
  type: 'swarm' | 'compose' | 'kubernetes';
  endpointId: number;
  /** What Portainer was told to do, not what the containers do. */
  status: 'active' | 'inactive' | 'deploying' | 'error';
  /** Secrets: for interpolation only. */
  env: { name: string; value: string }[];
  updatedAt: number;
}

export interface PortainerContainer {
  id: string;
  name: string;
  state: string;
  health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  exitCode: number | undefined;
  createdAtMs: number;
  labels: Record<string, string>;
  isPortainer: boolean;
}

export interface ContainerInspection {
  restartPolicy: string;
  hasHealthcheck: boolean;
  publishesPorts: boolean;
}

/** `refused`: 400 or 409, the stack is not in a state from which this can be done; the state is untouched. */
export type StackChange = { outcome: 'done' } | { outcome: 'refused'; message: string };

interface CallOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

export interface PortainerClient {
  /** Docker endpoints; Kubernetes and Azure ones are left out. */
  listEndpoints(options?: CallOptions): Promise<PortainerEndpoint[]>;
  /** All endpoints' stacks, orphans included. */
  listStacks(options?: CallOptions): Promise<PortainerStack[]>;
  getStack(id: number, options?: CallOptions): Promise<PortainerStack>;
  /** The entry-point file only. */
  stackFile(id: number, options?: CallOptions): Promise<string>;
  /** All containers, stopped ones too. */
  listContainers(endpointId: number, options?: CallOptions): Promise<PortainerContainer[]>;
  inspectContainer(endpointId: number, id: string, options?: CallOptions): Promise<ContainerInspection>;
  /** Resolves when `compose up` ended, which can take minutes. A deadline that passes does not cancel it. */
  startStack(stack: Pick<PortainerStack, 'id' | 'endpointId'>, options?: CallOptions): Promise<StackChange>;
  /** `compose down`: the stack's containers are deleted, named volumes stay. */
  stopStack(stack: Pick<PortainerStack, 'id' | 'endpointId'>, options?: CallOptions): Promise<StackChange>;
  startContainer(endpointId: number, id: string, options?: CallOptions): Promise<void>;
  restartContainer(endpointId: number, id: string, options?: CallOptions): Promise<void>;
  unpauseContainer(endpointId: number, id: string, options?: CallOptions): Promise<void>;
  removeContainer(endpointId: number, id: string, options?: CallOptions): Promise<void>;
}

const dockerEndpointTypes = new Set([1, 2, 4]);
const nullable = <Item extends z.ZodType>(item: Item) => z.array(item).nullish();

const endpointsSchema = nullable(z.object({ Id: z.number(), Name: z.string(), Type: z.number() }));
const stackSchema = z.object({
  Id: z.number(),
  Name: z.string(),
  Type: z.number(),
  EndpointId: z.number(),
  Status: z.number().optional(),
  Env: nullable(z.object({ name: z.string(), value: z.string() })),
  UpdateDate: z.number().optional(),
});
const containersSchema = nullable(
  z.object({
    Id: z.string(),
    Names: nullable(z.string()),
    State: z.string(),
    Status: z.string().optional(),
    Created: z.number().optional(),
    Labels: z.record(z.string(), z.string()).nullish(),
    Health: z.object({ Status: z.string() }).nullish(),
    IsPortainer: z.boolean().optional(),
  }),
);
const inspectionSchema = z.object({
  HostConfig: z.object({
    RestartPolicy: z.object({ Name: z.string() }).nullish(),
    PortBindings: z.record(z.string(), z.unknown()).nullish(),
  }),
  Config: z.object({ Healthcheck: z.object({ Test: z.array(z.string()).nullish() }).nullish() }),
});

const types = { 1: 'swarm', 2: 'compose', 3: 'kubernetes' } as const;
const statuses = { 1: 'active', 2: 'inactive', 3: 'deploying', 4: 'error' } as const;

function toStack(item: z.infer<typeof stackSchema>): PortainerStack {
  return {
    id: item.Id,
    name: item.Name,
    type: types[item.Type as 1] ?? 'compose',
    endpointId: item.EndpointId,
    // Very old databases have no status; such a stack was never stopped.
    status: statuses[item.Status as 1] ?? 'active',
    env: item.Env ?? [],
    updatedAt: item.UpdateDate ?? 0,
  };
}

/** Docker before 29 tells health and exit code in the text only: `Up 2 hours (health: starting)`, `Exited (137) ...`. */
function toContainer(item: NonNullable<z.infer<typeof containersSchema>>[number]): PortainerContainer {
  const text = item.Status ?? '';
  const told = item.Health?.Status ?? /\((?:health: )?(starting|healthy|unhealthy)\)/.exec(text)?.[1];
  const exitCode = /^(?:Exited|Restarting) \((\d+)\)/.exec(text)?.[1];
  return {
    id: item.Id,
    name: (item.Names?.[0] ?? item.Id).replace(/^\//, ''),
    state: item.State,
    health: told === 'starting' || told === 'healthy' || told === 'unhealthy' ? told : 'none',
    exitCode: exitCode === undefined ? undefined : Number(exitCode),
    createdAtMs: (item.Created ?? 0) * 1000,
    labels: item.Labels ?? {},
    isPortainer: item.IsPortainer === true,
  };
}

/** Portainer's API and, through it, Docker's. Works with 2.20 and later; Docker's paths carry no version. */
export function createPortainerClient(options: PortainerClientOptions): PortainerClient {
  const { now = Date.now } = options;
  const plain = createHttpClient({
    service: 'Portainer',
    baseUrl: options.baseUrl,
    timeoutMs: options.timeoutMs,
    attempts: 2,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...(options.sleep === undefined ? {} : { sleep: options.sleep }),
    advice: {
      401: 'check portainer-api-key, or portainer-username and portainer-password',
      403: 'its user may not do this: check its access',
    },
  });
  /** Portainer makes its own certificate, so this is what most people meet first. */
  const explain = (error: unknown): never => {
    if (!(error instanceof UpstreamError) || !/self.signed|CERT_|UNABLE_TO_VERIFY/i.test(error.detail)) throw error;
    const advice = 'its certificate is not trusted, set PORTAINER_CA_FILE or PORTAINER_INSECURE';
    throw new UpstreamError('Portainer', error.failure, error.detail, { advice });
  };
  const http: HttpClient = {
    request: (request) => plain.request(request).catch(explain),
    requestJson: (request) => plain.requestJson(request).catch(explain),
  };
  const session = createPortainerSession({ http, credentials: options.credentials, now });

  async function readJson<Schema extends z.ZodType>(schema: Schema, request: HttpRequest): Promise<z.infer<Schema>> {
    const answer = await session.call(request);
    let body: unknown;
    try {
      body = JSON.parse(answer.text);
    } catch {
      throw new UpstreamError('Portainer', 'invalid_response', `not JSON from ${request.path}`, {
        status: answer.status,
        advice: 'what answered is not its API, check PORTAINER_API_URL',
      });
    }
    const parsed = schema.safeParse(body);
    if (parsed.success) return parsed.data;
    const wrong = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).slice(0, 3);
    throw new UpstreamError('Portainer', 'invalid_response', `${request.path}: ${wrong.join('; ')}`);
  }

  async function change(stack: Pick<PortainerStack, 'id' | 'endpointId'>, action: string, call: CallOptions = {}) {
    const answer = await session.call({
      ...toRequest(call),
      method: 'POST',
      path: `/api/stacks/${stack.id}/${action}`,
      // Portainer does not compare it with the stack's own: another number here deploys to another host.
      query: { endpointId: stack.endpointId },
      accept: (status) => (status >= 200 && status < 300) || status === 400 || status === 409,
    });
    if (answer.status < 300) return { outcome: 'done' as const };
    return { outcome: 'refused' as const, message: answer.text.slice(0, 300) };
  }

  const docker = (endpointId: number, path: string) => `/api/endpoints/${endpointId}/docker/containers${path}`;
  async function act(endpointId: number, id: string, action: string, call: CallOptions = {}) {
    await session.call({
      ...toRequest(call),
      method: 'POST',
      path: docker(endpointId, `/${id}/${action}`),
      // 304: it is in that state already.
      accept: (status) => (status >= 200 && status < 300) || status === 304,
    });
  }

  return {
    async listEndpoints(call) {
      // Without excludeSnapshots the answer carries every container and image of every host.
      const request = { ...toRequest(call), path: '/api/endpoints', query: { excludeSnapshots: true } };
      const found = (await readJson(endpointsSchema, request)) ?? [];
      return found.filter(({ Type }) => dockerEndpointTypes.has(Type)).map(({ Id, Name }) => ({ id: Id, name: Name }));
    },
    async listStacks(call) {
      return ((await readJson(nullable(stackSchema), { ...toRequest(call), path: '/api/stacks' })) ?? []).map(toStack);
    },
    async getStack(id, call) {
      return toStack(await readJson(stackSchema, { ...toRequest(call), path: `/api/stacks/${id}` }));
    },
    async stackFile(id, call) {
      const schema = z.object({ StackFileContent: z.string() });
      return (await readJson(schema, { ...toRequest(call), path: `/api/stacks/${id}/file` })).StackFileContent;
    },
    async listContainers(endpointId, call) {
      const request = { ...toRequest(call), path: docker(endpointId, '/json'), query: { all: 1 } };
      return ((await readJson(containersSchema, request)) ?? []).map(toContainer);
    },
    async inspectContainer(endpointId, id, call) {
      const request = { ...toRequest(call), path: docker(endpointId, `/${id}/json`) };
      const { HostConfig, Config } = await readJson(inspectionSchema, request);
      const test = Config.Healthcheck?.Test ?? [];
      return {
        restartPolicy: HostConfig.RestartPolicy?.Name ?? '',
        hasHealthcheck: test.length > 0 && test[0] !== 'NONE',
        publishesPorts: Object.keys(HostConfig.PortBindings ?? {}).length > 0,
      };
    },
    startStack: (stack, call) => change(stack, 'start', call),
    stopStack: (stack, call) => change(stack, 'stop', call),
    startContainer: (endpointId, id, call) => act(endpointId, id, 'start', call),
    restartContainer: (endpointId, id, call) => act(endpointId, id, 'restart', call),
    unpauseContainer: (endpointId, id, call) => act(endpointId, id, 'unpause', call),
    async removeContainer(endpointId, id, call) {
      await session.call({
        ...toRequest(call),
        method: 'DELETE',
        path: docker(endpointId, `/${id}`),
        idempotent: false,
      });
    },
  };
}

function toRequest({ signal, timeoutMs }: CallOptions = {}): Pick<HttpRequest, 'signal' | 'timeoutMs'> {
  return { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}
