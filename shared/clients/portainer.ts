import * as z from 'zod/mini';
import { UpstreamError } from '../errors.ts';
import { createHttpClient, type HttpClient, type HttpRequest } from './http.ts';
import { createPortainerSession, type PortainerCredentials } from './portainer-session.ts';
import {
  type ContainerInspection,
  containersSchema,
  endpointsSchema,
  inspectionSchema,
  type PortainerContainer,
  type PortainerEndpoint,
  type PortainerStack,
  type SwarmService,
  servicesSchema,
  stackSchema,
  stacksSchema,
  toContainer,
  toEndpoint,
  toInspection,
  toStack,
  toSwarmService,
} from './portainer-wire.ts';

export type {
  ContainerInspection,
  PortainerContainer,
  PortainerEndpoint,
  PortainerStack,
  SwarmService,
} from './portainer-wire.ts';

export interface PortainerClientOptions {
  /** Where Portainer answers, without `/api`. */
  baseUrl: string;
  /** Read for each login or call, so that a rotated secret is used at once. An API key is preferred to a login. */
  credentials: () => PortainerCredentials;
  /** Deadline of each call that is given none. */
  timeoutMs: number;
  tls?: { ca?: string; insecure?: boolean };
  now?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** `refused`: 400 or 409, the stack is not in a state from which this can be done; the state is untouched. */
export type StackChange = { outcome: 'done' } | { outcome: 'refused'; message: string };

export type ContainerAction = 'start' | 'restart' | 'unpause' | 'stop' | 'remove';

export interface CallOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  /** False: one attempt, where the next look comes anyway. */
  retry?: boolean | undefined;
}

export interface PortainerClient {
  /** Its release, which it tells without a credential. */
  version(options?: CallOptions): Promise<string>;
  listEndpoints(options?: CallOptions): Promise<PortainerEndpoint[]>;
  /** All endpoints' stacks, orphans included. */
  listStacks(options?: CallOptions): Promise<PortainerStack[]>;
  getStack(id: number, options?: CallOptions): Promise<PortainerStack>;
  /** The entry-point file only. */
  stackFile(id: number, options?: CallOptions): Promise<string>;
  /** All containers, stopped ones too. */
  listContainers(endpointId: number, options?: CallOptions): Promise<PortainerContainer[]>;
  /** `variables`: the names of those environment variables that may be read. */
  inspectContainer(
    endpointId: number,
    id: string,
    options?: CallOptions & { variables?: string[] },
  ): Promise<ContainerInspection>;
  /** The services of a Swarm; its managers alone know them. */
  listServices(endpointId: number, options?: CallOptions): Promise<SwarmService[]>;
  /** Resolves when `compose up` ended, which can take minutes. A deadline that passes does not cancel it. */
  startStack(stack: Pick<PortainerStack, 'id' | 'endpointId'>, options?: CallOptions): Promise<StackChange>;
  /** `compose down`: the stack's containers are deleted, named volumes stay. */
  stopStack(stack: Pick<PortainerStack, 'id' | 'endpointId'>, options?: CallOptions): Promise<StackChange>;
  changeContainer(endpointId: number, id: string, action: ContainerAction, options?: CallOptions): Promise<void>;
}

const isSuccess = (status: number) => status >= 200 && status < 300;

function toRequest({ signal, timeoutMs, retry }: CallOptions = {}): Partial<HttpRequest> {
  return {
    signal,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retry === undefined ? {} : { idempotent: retry }),
  };
}

/** Portainer makes its own certificate, so this is what most people meet first. */
function explain(error: unknown): never {
  if (!(error instanceof UpstreamError) || !/self.signed|CERT_|UNABLE_TO_VERIFY|ALTNAME/i.test(error.detail))
    throw error;
  const advice = 'its certificate is not trusted, set PORTAINER_CA_FILE or PORTAINER_INSECURE';
  throw new UpstreamError('Portainer', error.failure, error.detail, { advice });
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
  const http: HttpClient = {
    request: (request) => plain.request(request).catch(explain),
    requestJson: (request) => plain.requestJson(request).catch(explain),
  };
  const session = createPortainerSession({ http, credentials: options.credentials, now });

  async function read<Schema extends z.core.$ZodType>(
    schema: Schema,
    path: string,
    call?: CallOptions,
    query: NonNullable<HttpRequest['query']> = {},
  ): Promise<z.infer<Schema>> {
    const answer = await session.call({ ...toRequest(call), path, query });
    let body: unknown;
    try {
      body = JSON.parse(answer.text);
    } catch {
      throw new UpstreamError('Portainer', 'invalid_response', `not JSON from ${path}`, {
        status: answer.status,
        advice: 'what answered is not its API, check PORTAINER_API_URL',
      });
    }
    const parsed = z.safeParse(schema, body);
    if (parsed.success) return parsed.data;
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).slice(0, 3);
    throw new UpstreamError('Portainer', 'invalid_response', `${path}: ${wrong.join('; ')}`);
  }

  async function changeStack(stack: Pick<PortainerStack, 'id' | 'endpointId'>, action: string, call?: CallOptions) {
    const answer = await session.call({
      ...toRequest(call),
      method: 'POST',
      idempotent: false,
      path: `/api/stacks/${stack.id}/${action}`,
      // Portainer does not compare it with the stack's own: another number here deploys to another host.
      query: { endpointId: stack.endpointId },
      accept: (status) => isSuccess(status) || status === 400 || status === 409,
    });
    if (isSuccess(answer.status)) return { outcome: 'done' as const };
    return { outcome: 'refused' as const, message: answer.text.slice(0, 300) };
  }

  const docker = (endpointId: number, path: string) => `/api/endpoints/${endpointId}/docker${path}`;

  return {
    version: async (call) => (await read(z.object({ Version: z.string() }), '/api/system/status', call)).Version,
    // Without excludeSnapshots the answer carries every container and image of every host.
    listEndpoints: async (call) =>
      ((await read(endpointsSchema, '/api/endpoints', call, { excludeSnapshots: true })) ?? []).map(toEndpoint),
    listStacks: async (call) => ((await read(stacksSchema, '/api/stacks', call)) ?? []).map(toStack),
    getStack: async (id, call) => toStack(await read(stackSchema, `/api/stacks/${id}`, call)),
    stackFile: async (id, call) =>
      (await read(z.object({ StackFileContent: z.string() }), `/api/stacks/${id}/file`, call)).StackFileContent,
    listContainers: async (endpointId, call) =>
      ((await read(containersSchema, docker(endpointId, '/containers/json'), call, { all: 1 })) ?? []).map(toContainer),
    inspectContainer: async (endpointId, id, call) =>
      toInspection(
        await read(inspectionSchema, docker(endpointId, `/containers/${id}/json`), call),
        call?.variables ?? [],
      ),
    listServices: async (endpointId, call) =>
      ((await read(servicesSchema, docker(endpointId, '/services'), call, { status: true })) ?? []).map(toSwarmService),
    startStack: (stack, call) => changeStack(stack, 'start', call),
    stopStack: (stack, call) => changeStack(stack, 'stop', call),
    async changeContainer(endpointId, id, action, call) {
      const isRemoval = action === 'remove';
      await session.call({
        ...toRequest(call),
        method: isRemoval ? 'DELETE' : 'POST',
        idempotent: false,
        path: docker(endpointId, `/containers/${id}${isRemoval ? '' : `/${action}`}`),
        // 304: it is in that state already.
        accept: (status) => isSuccess(status) || status === 304,
      });
    },
  };
}
