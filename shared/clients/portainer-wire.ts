import * as z from 'zod/mini';
import en from 'zod/v4/locales/en.js';

// Portainer's answers are small and few: what zod would compile for each schema costs a first answer more than it saves.
z.config({ ...en(), jitless: true });

/** What Portainer can do with an environment: `edge-async` has no tunnel, so nothing can be started through it. */
export type EndpointKind = 'docker' | 'edge-async' | 'kubernetes' | 'other';

export interface PortainerEndpoint {
  id: number;
  name: string;
  kind: EndpointKind;
  /** A hint, minutes old: Portainer's own background check. */
  up: boolean;
}

export interface PortainerStack {
  id: number;
  name: string;
  type: 'swarm' | 'compose' | 'kubernetes';
  endpointId: number;
  /** What Portainer was told to do, not what the containers do. `deploying` and `error` since 2.4x. */
  status: 'active' | 'inactive' | 'deploying' | 'error';
  /** Portainer's text about its last deployment that failed. It may quote the stack file: for the log only. */
  deploymentError: string | undefined;
  /** Secrets: for interpolation only. */
  env: { name: string; value: string }[];
  updatedAt: number;
}

export interface PortainerContainer {
  id: string;
  name: string;
  image: string;
  state: string;
  health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  exitCode: number | undefined;
  createdAtMs: number;
  /** Docker's text says seconds: it came up just now. */
  isYoung: boolean;
  labels: Record<string, string>;
  /** Ports of the host, while it runs. */
  hostPorts: number[];
  onHostNetwork: boolean;
  isPortainer: boolean;
}

export interface ContainerInspection {
  restartPolicy: string;
  restartCount: number;
  startedAtMs: number;
  hasHealthcheck: boolean;
  /** How long after its start an `unhealthy` may still be a boot: start period + retries x interval. */
  healthGraceMs: number;
  hostPorts: number[];
  /** Only the variables that were asked for: the others are secrets. */
  env: Record<string, string>;
}

export interface SwarmService {
  name: string;
  /** The stack's name. */
  namespace: string;
  labels: Record<string, string>;
  image: string;
  updatedAtMs: number;
  running: number;
  desired: number;
  /** A job runs to completion and stays away. */
  isJob: boolean;
}

const nullable = <Item extends z.core.$ZodType>(item: Item) => z.nullish(z.array(item));

export const endpointsSchema = nullable(
  z.object({
    Id: z.number(),
    Name: z.string(),
    Type: z.number(),
    Status: z.optional(z.number()),
    Heartbeat: z.optional(z.boolean()),
    Edge: z.nullish(z.object({ AsyncMode: z.optional(z.boolean()) })),
  }),
);
export const stackSchema = z.object({
  Id: z.number(),
  Name: z.string(),
  Type: z.number(),
  EndpointId: z.number(),
  Status: z.optional(z.number()),
  DeploymentStatus: nullable(z.object({ Status: z.optional(z.number()), Message: z.optional(z.string()) })),
  Env: nullable(z.object({ name: z.string(), value: z.string() })),
  UpdateDate: z.optional(z.number()),
});
export const stacksSchema = nullable(stackSchema);
export const containersSchema = nullable(
  z.object({
    Id: z.string(),
    Names: nullable(z.string()),
    Image: z.optional(z.string()),
    State: z.string(),
    Status: z.optional(z.string()),
    Created: z.optional(z.number()),
    Labels: z.nullish(z.record(z.string(), z.string())),
    Ports: nullable(z.object({ PublicPort: z.optional(z.number()) })),
    HostConfig: z.nullish(z.object({ NetworkMode: z.optional(z.string()) })),
    Health: z.nullish(z.object({ Status: z.string() })),
    IsPortainer: z.optional(z.boolean()),
  }),
);
export const inspectionSchema = z.object({
  RestartCount: z.optional(z.number()),
  State: z.nullish(z.object({ StartedAt: z.optional(z.string()) })),
  HostConfig: z.object({
    RestartPolicy: z.nullish(z.object({ Name: z.string() })),
    PortBindings: z.nullish(z.record(z.string(), nullable(z.object({ HostPort: z.optional(z.string()) })))),
  }),
  Config: z.object({
    Env: nullable(z.string()),
    Healthcheck: z.nullish(
      z.object({
        Test: nullable(z.string()),
        Interval: z.optional(z.number()),
        Retries: z.optional(z.number()),
        StartPeriod: z.optional(z.number()),
      }),
    ),
  }),
});
export const servicesSchema = nullable(
  z.object({
    CreatedAt: z.optional(z.string()),
    UpdatedAt: z.optional(z.string()),
    Spec: z.object({
      Name: z.string(),
      Labels: z.nullish(z.record(z.string(), z.string())),
      Mode: z.nullish(z.record(z.string(), z.unknown())),
      TaskTemplate: z.nullish(z.object({ ContainerSpec: z.nullish(z.object({ Image: z.optional(z.string()) })) })),
    }),
    ServiceStatus: z.nullish(z.object({ RunningTasks: z.optional(z.number()), DesiredTasks: z.optional(z.number()) })),
  }),
);

type Item<Schema extends z.core.$ZodType> = NonNullable<z.infer<Schema>> extends (infer One)[] ? One : never;

const kinds: Record<number, EndpointKind> = {
  1: 'docker',
  2: 'docker',
  4: 'docker',
  5: 'kubernetes',
  6: 'kubernetes',
  7: 'kubernetes',
};

export function toEndpoint({ Id, Name, Type, Status, Heartbeat, Edge }: Item<typeof endpointsSchema>) {
  const isEdge = Type === 4 || Type === 7;
  const kind = Type === 4 && Edge?.AsyncMode === true ? 'edge-async' : (kinds[Type] ?? 'other');
  // The status of an edge environment means nothing: its heartbeat does.
  return { id: Id, name: Name, kind, up: isEdge ? Heartbeat !== false : Status !== 2 } as const;
}

const types = { 1: 'swarm', 2: 'compose', 3: 'kubernetes' } as const;
const statuses = { 1: 'active', 2: 'inactive', 3: 'deploying', 4: 'error' } as const;

export function toStack(item: z.infer<typeof stackSchema>): PortainerStack {
  // Very old databases have no status; such a stack was never stopped.
  const known: Record<number, PortainerStack['status']> = statuses;
  const status = known[item.Status ?? 1] ?? 'active';
  return {
    id: item.Id,
    name: item.Name,
    type: types[item.Type as 1] ?? 'compose',
    endpointId: item.EndpointId,
    status,
    // Compose tells its progress first, and its reason last.
    deploymentError: status === 'error' ? (item.DeploymentStatus?.at(-1)?.Message ?? '').slice(-1_000) : undefined,
    env: item.Env ?? [],
    updatedAt: item.UpdateDate ?? 0,
  };
}

/** Docker before 29 tells health and exit code in the text only: `Up 2 hours (health: starting)`, `Exited (137) ...`. */
export function toContainer(item: Item<typeof containersSchema>): PortainerContainer {
  const text = item.Status ?? '';
  const told = item.Health?.Status ?? /\((?:health: )?(starting|healthy|unhealthy)\)/.exec(text)?.[1];
  const exitCode = /^(?:Exited|Restarting) \((\d+)\)/.exec(text)?.[1];
  return {
    id: item.Id,
    name: (item.Names?.[0] ?? item.Id).replace(/^\//, ''),
    image: item.Image ?? '',
    state: item.State,
    health: told === 'starting' || told === 'healthy' || told === 'unhealthy' ? told : 'none',
    exitCode: exitCode === undefined ? undefined : Number(exitCode),
    createdAtMs: (item.Created ?? 0) * 1000,
    isYoung: /^Up (Less than a|\d+|a) seconds?\b/i.test(text),
    labels: item.Labels ?? {},
    hostPorts: (item.Ports ?? []).flatMap(({ PublicPort }) => PublicPort ?? []),
    onHostNetwork: item.HostConfig?.NetworkMode === 'host',
    isPortainer: item.IsPortainer === true,
  };
}

const toMs = (time: string | undefined) => {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) || at < 0 ? 0 : at;
};
const fromNs = (ns: number | undefined, fallbackMs: number) => (ns === undefined || ns === 0 ? fallbackMs : ns / 1e6);

export function toInspection(item: z.infer<typeof inspectionSchema>, variables: string[]): ContainerInspection {
  const { HostConfig, Config } = item;
  const check = Config.Healthcheck;
  const test = check?.Test ?? [];
  const env = (Config.Env ?? []).flatMap((line): [string, string][] => {
    const split = line.indexOf('=');
    const name = line.slice(0, split);
    return split > 0 && variables.includes(name) ? [[name, line.slice(split + 1)]] : [];
  });
  return {
    restartPolicy: HostConfig.RestartPolicy?.Name ?? '',
    restartCount: item.RestartCount ?? 0,
    startedAtMs: toMs(item.State?.StartedAt),
    hasHealthcheck: test.length > 0 && test[0] !== 'NONE',
    // Docker's own defaults: no start period, 3 retries, 30 s.
    healthGraceMs: fromNs(check?.StartPeriod, 0) + (check?.Retries || 3) * fromNs(check?.Interval, 30_000),
    hostPorts: Object.values(HostConfig.PortBindings ?? {}).flatMap((bound) =>
      (bound ?? []).flatMap(({ HostPort }) => Number(HostPort) || []),
    ),
    env: Object.fromEntries(env),
  };
}

export function toSwarmService(item: Item<typeof servicesSchema>): SwarmService {
  const { Spec, ServiceStatus } = item;
  const labels = Spec.Labels ?? {};
  return {
    name: Spec.Name,
    namespace: labels['com.docker.stack.namespace'] ?? '',
    labels,
    image: Spec.TaskTemplate?.ContainerSpec?.Image ?? '',
    updatedAtMs: toMs(item.UpdatedAt ?? item.CreatedAt),
    running: ServiceStatus?.RunningTasks ?? 0,
    desired: ServiceStatus?.DesiredTasks ?? 0,
    isJob: ['ReplicatedJob', 'GlobalJob'].some((mode) => mode in (Spec.Mode ?? {})),
  };
}
