import type { StackFunction } from '../stack/stack.ts';
import type { PreparedFunction } from './environment.ts';
import { readWatchdogSettings } from './watchdog.ts';

interface Shown {
  spec: StackFunction;
  prepared: PreparedFunction;
}

/** A call worth trying first; any other function is asked with a plain GET. */
const samples: Record<string, (url: string) => string> = {
  'spot-start-service': (url) => `-H 'Content-Type: application/json' -d '{"service": "nextcloud"}' ${url}`,
  'completion-proxy': (url) => `-H 'Content-Type: application/json' -d '{"prompt": "Hello"}' ${url}/completion`,
  'lago-usage-push': (url) => `-X POST ${url}`,
};

/** Each upstream once: simulated, or real with its address. */
export function upstreamLines(functions: Shown[]): string[] {
  const lines = functions.flatMap(({ spec, prepared }) =>
    prepared.upstreams.map(({ name, variable, sandbox }) => {
      const url = prepared.environment[variable];
      if (sandbox) return `  ${name}: sandbox at ${url} (set ${variable} for the real one)`;
      // A URL may carry credentials; its origin does not.
      const origin = URL.parse(url ?? '')?.origin;
      return `  ${name}: ${origin === undefined ? 'replaced by other settings' : `real, at ${origin}`} (${spec.name})`;
    }),
  );
  return [...new Set(lines)];
}

/** The functions, with a line for each to copy into a shell. */
export function curlLines(functions: Shown[], url: string): string[] {
  const width = Math.max(0, ...functions.map(({ spec }) => spec.name.length));
  return functions.map(({ spec, prepared }) => {
    const sample = samples[spec.name] ?? ((target: string) => target);
    const isOpen = prepared.environment.AUTH?.split(',').includes('none');
    const key = isOpen ? '' : `-H "Authorization: Bearer $FUNCTION_API_KEY" `;
    return `${spec.name.padEnd(width)}  curl -s ${key}${sample(`${url}/function/${spec.name}`)}`;
  });
}

/** Which functions are open because no key is configured; said once for all that share an AUTH. */
export function authLines(functions: Shown[]): string[] {
  const opened = functions.filter(({ prepared }) => prepared.openedAuth !== undefined);
  return [...Map.groupBy(opened, ({ prepared }) => prepared.openedAuth)].map(
    ([auth, group]) =>
      `  AUTH=${auth} for ${group.map(({ spec }) => spec.name).join(', ')}: no key is configured, and only this machine can call. A deployment refuses to start without one.`,
  );
}

/** Functions that are allowed more time than the gateway before them has. */
export function timeoutLines(functions: Shown[], upstreamTimeoutMs: number): string[] {
  return functions
    .filter(({ spec }) => readWatchdogSettings(spec.environment).execTimeoutMs > upstreamTimeoutMs)
    .map(({ spec }) => {
      const { exec_timeout: time } = spec.environment;
      return `  ${spec.name}: exec_timeout is ${time}, but a gateway gives up after upstream_timeout (${upstreamTimeoutMs / 1_000}s). Raise it there; here: upstream_timeout=${time} npm start`;
    });
}
