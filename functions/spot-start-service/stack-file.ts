import { parse } from 'yaml';

export interface StackFile {
  /** Of all services: what tells under which host the stack is served. */
  labels: Record<string, string>[];
  /** Services that must have a container: without a profile, and not scaled to nothing. */
  expected: string[];
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** Compose's `$VAR`, `${VAR}`, `${VAR:-d}`, `${VAR-d}`, `${VAR:+r}`, `${VAR:?e}` and `$$`; an unset variable is empty. */
export function interpolate(text: string, env: { name: string; value: string }[]): string {
  const values = new Map(env.map(({ name, value }) => [name, value]));
  return text.replace(/\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-+?])([^}]*))?\})/g, (...groups) => {
    const [, dollar, plain, braced, operator = '', word = ''] = groups as (string | undefined)[];
    if (dollar !== undefined) return '$';
    const value = values.get(plain ?? braced ?? '');
    const isSet = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined;
    if (operator.endsWith('-')) return isSet ? (value ?? '') : word;
    if (operator.endsWith('+')) return isSet ? word : '';
    return value ?? '';
  });
}

function readLabels(value: unknown): Record<string, string> {
  if (!Array.isArray(value)) {
    return Object.fromEntries(Object.entries(record(value)).map(([name, item]) => [name, String(item ?? '')]));
  }
  return Object.fromEntries(
    value.map((line) => {
      const text = String(line);
      const split = text.indexOf('=');
      return split < 0 ? [text, ''] : [text.slice(0, split), text.slice(split + 1)];
    }),
  );
}

/** Reads a compose file with the stack's own variables; undefined when it is not one that can be read. */
export function parseStackFile(text: string, env: { name: string; value: string }[]): StackFile | undefined {
  let root: unknown;
  try {
    root = parse(text, { merge: true, maxAliasCount: 200 });
  } catch {
    return undefined;
  }
  const services = Object.entries(record(record(root).services)).map(([name, item]) => ({ name, item: record(item) }));
  if (services.length === 0) return undefined;
  // After parsing: a value with a quote or a colon must not change what the file says.
  const resolve = (labels: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(labels).map(([name, value]) => [interpolate(name, env), interpolate(value, env)]),
    );
  const isExpected = (item: Record<string, unknown>) => {
    const copies = [item.scale, record(item.deploy).replicas].map((value) => interpolate(String(value ?? 1), env));
    return item.profiles === undefined && !copies.includes('0');
  };
  return {
    labels: services.map(({ item }) =>
      resolve({ ...readLabels(record(item.deploy).labels), ...readLabels(item.labels) }),
    ),
    expected: services.filter(({ item }) => isExpected(item)).map(({ name }) => name),
  };
}
