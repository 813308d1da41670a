import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StackFunction } from '../stack/stack.ts';

/** A service that functions call, and its simulated double. */
interface Upstream {
  name: string;
  /** The setting that holds its URL. A function that names it in the stack file uses this upstream. */
  variable: string;
  /** Settings that stand in for the URL: with one of them set, no double is needed. */
  instead: string[];
  module: string;
  start: string;
  /** What a function dares only against a double, where the stack file leaves the setting empty. */
  bold?: (now: Date) => Record<string, string>;
}

const upstreams: Upstream[] = [
  {
    name: 'LiteLLM',
    variable: 'LITELLM_API_BASE_URL',
    instead: [],
    module: 'litellm.ts',
    start: 'startLitellmSandbox',
  },
  {
    name: 'Portainer',
    variable: 'PORTAINER_API_URL',
    instead: [],
    module: 'portainer.ts',
    start: 'startPortainerSandbox',
  },
  {
    name: 'Lago',
    variable: 'LAGO_API_BASE',
    instead: [],
    module: 'lago.ts',
    start: 'startLagoSandbox',
    // Nothing is billed until somebody says from when; nobody minds a simulated bill since yesterday.
    bold: (now) => ({
      BILL_FROM: new Date(now.getTime() - 86_400_000).toISOString().slice(0, 10),
      TRUST_REQUEST_USER: 'true',
      BILLING_PERIOD: 'none',
    }),
  },
  {
    name: 'Ollama',
    variable: 'OLLAMA_URL',
    instead: ['OPENAI_API_KEY', 'BACKEND_URL'],
    module: 'ollama.ts',
    start: 'startOllamaSandbox',
  },
];

export interface RunningSandbox {
  url: string;
  /** Variables with which a function gets in. */
  credentials: Record<string, string>;
  close(): Promise<void>;
}

export interface UpstreamUse {
  name: string;
  variable: string;
  sandbox: boolean;
}

/** Which upstreams a function uses, and whether each is real; `hasSecret` tells of a secret file. */
export function findUpstreams(
  spec: Pick<StackFunction, 'environment' | 'secrets'>,
  hasSecret: (name: string) => boolean,
): UpstreamUse[] {
  const isSet = (variable: string) => {
    const secret = variable.toLowerCase().replaceAll('_', '-');
    return Boolean(spec.environment[variable]?.trim()) || (spec.secrets.includes(secret) && hasSecret(secret));
  };
  return upstreams
    .filter(({ variable }) => variable in spec.environment)
    .map(({ name, variable, instead }) => ({
      name,
      variable,
      sandbox: !isSet(variable) && !instead.some(isSet),
    }));
}

/** Settings for a function that only a double hears: they fill what its stack file names and leaves empty. */
export function boldSettings(environment: Record<string, string>, variable: string, now: Date): Record<string, string> {
  const all = upstreams.find((item) => item.variable === variable)?.bold?.(now) ?? {};
  return Object.fromEntries(Object.entries(all).filter(([name]) => environment[name] === ''));
}

async function startSandboxOf({ module, start }: Upstream): Promise<RunningSandbox> {
  const file = pathToFileURL(join(resolve(import.meta.dirname, '../..'), 'sandbox', module)).href;
  const exports = (await import(file)) as Record<string, (options: { seed: number }) => Promise<RunningSandbox>>;
  return exports[start]!({ seed: 1 });
}

/** Starts each double once, when the first function needs it, and shares it among all. */
export function createSandboxes(start: (upstream: Upstream) => Promise<RunningSandbox> = startSandboxOf) {
  const running = new Map<string, Promise<RunningSandbox>>();
  return {
    /** The double behind a URL setting. */
    get(variable: string): Promise<RunningSandbox> {
      const known = running.get(variable);
      if (known !== undefined) return known;
      const upstream = upstreams.find((item) => item.variable === variable);
      if (upstream === undefined) throw new Error(`nothing stands in for ${variable}`);
      const started = start(upstream);
      running.set(variable, started);
      return started;
    },
    async close() {
      const all = await Promise.allSettled(running.values());
      await Promise.all(all.map((result) => (result.status === 'fulfilled' ? result.value.close() : undefined)));
    },
  };
}

export type Sandboxes = ReturnType<typeof createSandboxes>;
