import { proxyVariables } from '../resolve/claims.ts';
import { interpolate, type Variables } from './interpolate.ts';

export interface FileService {
  name: string;
  image: string;
  /** Those of the container and of the Swarm service; one with a variable that is not set is left out. */
  labels: Record<string, string>;
  /** Only the variables of nginx-proxy. */
  env: Record<string, string>;
  hostPorts: number[];
  /** It must have a container: it has no profile, is not scaled to nothing, and no label takes it out. */
  expected: boolean;
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** The map and the list form of labels and environment. */
function readPairs(value: unknown): [name: string, value: string][] {
  if (!Array.isArray(value)) return Object.entries(record(value)).map(([name, item]) => [name, String(item ?? '')]);
  return value.map((line) => {
    const text = String(line);
    const split = text.indexOf('=');
    return split < 0 ? [text, ''] : [text.slice(0, split), text.slice(split + 1)];
  });
}

/** After parsing: a value with a quote or a colon must not change what the file says. */
function resolvePairs(value: unknown, values: Variables, wanted: (name: string) => boolean = () => true) {
  return Object.fromEntries(
    readPairs(value).flatMap(([name, text]): [string, string][] => {
      const key = interpolate(name, values);
      const resolved = wanted(key.text) && key.complete ? interpolate(text, values) : undefined;
      return resolved?.complete === true ? [[key.text, resolved.text]] : [];
    }),
  );
}

/** `8080:80`, `127.0.0.1:443:443/tcp`, `{published: 443}`; a range counts by its ends. */
function readPorts(value: unknown, values: Variables): number[] {
  return (Array.isArray(value) ? value : []).flatMap((item) => {
    const long = record(item).published;
    if (long !== undefined) return Number(interpolate(String(long), values).text) || [];
    const parts = interpolate(String(item), values)
      .text.replace(/\/\w+$/, '')
      .split(':');
    if (parts.length < 2) return [];
    return (parts.at(-2) ?? '').split('-').flatMap((port) => Number(port) || []);
  });
}

/** `extends` of a service of the same file; another file cannot be read. */
function extend(item: Record<string, unknown>, services: Record<string, unknown>, depth = 0): Record<string, unknown> {
  const from = typeof item.extends === 'string' ? item.extends : record(item.extends).service;
  if (typeof from !== 'string' || record(item.extends).file !== undefined || depth > 5) return item;
  const base = extend(record(services[from]), services, depth + 1);
  const pairs = (name: string) => ({
    [name]: Object.fromEntries([...readPairs(base[name]), ...readPairs(item[name])]),
  });
  return { ...base, ...item, ...pairs('labels'), ...pairs('environment') };
}

function isExpected(item: Record<string, unknown>, labels: Record<string, string>, values: Variables): boolean {
  const copies = [item.scale, record(item.deploy).replicas].map(
    (value) => interpolate(String(value ?? 1), values).text,
  );
  const takenOut = labels['spot-start.ignore'] === 'true' || labels['spot-start.oneshot'] === 'true';
  const gated = Array.isArray(item.profiles) && item.profiles.length > 0;
  return !gated && !copies.includes('0') && !takenOut;
}

/** Reads a compose file with the stack's own variables; undefined when it is not one that can be read. */
export async function parseStackFile(
  text: string,
  env: { name: string; value: string }[],
): Promise<FileService[] | undefined> {
  if (text.length > 1_000_000) return undefined;
  // Loaded with the first file: a start by name of a healthy service needs none.
  const { parse } = await import('yaml');
  let root: unknown;
  try {
    root = parse(text, { merge: true, maxAliasCount: 200 });
  } catch {
    return undefined;
  }
  const services = record(record(root).services);
  const values = new Map(env.map(({ name, value }) => [name, value]));
  const found = Object.entries(services).map(([name, value]): FileService => {
    const item = extend(record(value), services);
    const labels = {
      ...resolvePairs(record(item.deploy).labels, values),
      ...resolvePairs(item.labels, values),
    };
    return {
      name,
      image: interpolate(String(item.image ?? ''), values).text,
      labels,
      env: resolvePairs(item.environment, values, (key) => proxyVariables.includes(key)),
      hostPorts: readPorts(item.ports, values),
      expected: isExpected(item, labels, values),
    };
  });
  return found.length === 0 ? undefined : found;
}
