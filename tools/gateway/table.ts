import type { StackFunction } from '../stack/stack.ts';
import type { PreparedFunction } from './environment.ts';

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
