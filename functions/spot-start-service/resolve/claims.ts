import { type Rule, toHostRule } from './rule.ts';
import { parseTraefik1Rule, parseTraefikRule } from './traefik.ts';

/** Where a claim stands, the surest first. `seen`: by a container that ran once, of a service that sleeps now. */
export const sources = [
  'map',
  'spot-start',
  'home.resolve.domain',
  'traefik',
  'caddy',
  'nginx-proxy',
  'seen',
  'name',
] as const;
export type Source = (typeof sources)[number];

export interface Claim {
  source: Source;
  rule: Rule;
}

/** The environment variables of nginx-proxy: the only ones that are read from a container or a file. */
export const proxyVariables = ['VIRTUAL_HOST', 'VIRTUAL_HOST_MULTIPORTS', 'VIRTUAL_PATH', 'LETSENCRYPT_HOST'];

const hosts = (text: string, source: Source, split = /,/): Claim[] =>
  text.split(split).flatMap((item) => {
    const rule = toHostRule(item);
    return rule === undefined ? [] : [{ source, rule }];
  });

function withPath(rule: Rule | undefined, path: string): Rule[] {
  if (rule === undefined) return [];
  const prefix = path.replace(/\*.*$/, '');
  return prefix === '' || prefix === '/'
    ? [rule]
    : [{ op: 'and', rules: [rule, { op: 'path', prefix, exact: false }] }];
}

/** caddy-docker-proxy's site addresses: scheme, port and path may be there; `(name)` is a snippet and no site. */
function readCaddy(value: string): Claim[] {
  if (value.startsWith('(') || /[{}]/.test(value)) return [];
  return value.split(/[\s,]+/).flatMap((address) => {
    const [, host = '', path = ''] = /^(?:https?:\/\/)?([^/:]*)(?::\d+)?(\/.*)?$/.exec(address) ?? [];
    return withPath(toHostRule(host), path).map((rule): Claim => ({ source: 'caddy', rule }));
  });
}

/** `a.example`, `*.bar.com` (any depth, as in nginx), `foo.bar.*`, `~^regexp$`. */
function toNginxRule(text: string): Rule | undefined {
  const item = text.trim();
  if (item.startsWith('~')) return { op: 'host', pattern: item.slice(1), kind: 'regexp' };
  return toHostRule(item.startsWith('*.') ? `*${item}` : item);
}

async function readNginxProxy(env: Record<string, string>): Promise<Claim[]> {
  const { VIRTUAL_HOST = '', VIRTUAL_PATH = '', VIRTUAL_HOST_MULTIPORTS = '', LETSENCRYPT_HOST = '' } = env;
  const rules = [
    ...VIRTUAL_HOST.split(',').flatMap((item) => withPath(toNginxRule(item), VIRTUAL_PATH.replace(/^~.*/, ''))),
    ...LETSENCRYPT_HOST.split(',').flatMap((item) => withPath(toNginxRule(item), '')),
  ];
  if (VIRTUAL_HOST_MULTIPORTS !== '' && VIRTUAL_HOST_MULTIPORTS.length < 8_192) {
    const { parse } = await import('yaml');
    const ports: unknown = (() => {
      try {
        return parse(VIRTUAL_HOST_MULTIPORTS, { maxAliasCount: 20 });
      } catch {
        return undefined;
      }
    })();
    for (const [host, paths] of Object.entries(typeof ports === 'object' && ports !== null ? ports : {})) {
      const names = typeof paths === 'object' && paths !== null ? Object.keys(paths) : ['/'];
      for (const path of names) rules.push(...withPath(toNginxRule(host), path));
    }
  }
  return rules.map((rule) => ({ source: 'nginx-proxy', rule }));
}

/** What the labels and the proxy variables of one container or service say about its hosts. */
export async function readClaims(labels: Record<string, string>, env: Record<string, string>): Promise<Claim[]> {
  const claims: Claim[] = [];
  const traefikIsOff = labels['traefik.enable']?.toLowerCase() === 'false';
  for (const [name, value] of Object.entries(labels)) {
    if (value === '' || value.length > 8_192) continue;
    if (name === 'spot-start.host') claims.push(...hosts(value, 'spot-start'));
    else if (name === 'home.resolve.domain') claims.push(...hosts(value, 'home.resolve.domain'));
    else if (/^caddy(_\d+)?$/.test(name)) claims.push(...readCaddy(value));
    else if (!traefikIsOff && /^traefik\..*rule$/.test(name)) {
      const isV1 = /^traefik\.([^.]+\.)?frontend\.rule$/.test(name);
      const isRouter = /^traefik\.(http|tcp)\.routers\.[^.]+\.rule$/.test(name);
      const rule = isV1 ? parseTraefik1Rule(value) : isRouter ? parseTraefikRule(value) : undefined;
      if (rule !== undefined) claims.push({ source: 'traefik', rule });
    }
  }
  return [...claims, ...(await readNginxProxy(env))];
}

/** What a stack's own labels decide, over all its services. */
export interface Policy {
  /** `spot-start.enable`; an opt-out wins. */
  enabled: boolean | undefined;
  /** Says by a label of ours that it may be woken: `spot-start.enable=true` or `spot-start.host`. */
  labelled: boolean;
  /** `spot-start.requires`: stacks that come first. */
  requires: string[];
}

export function readPolicy(labelSets: Record<string, string>[]): Policy {
  const enable = labelSets.flatMap((labels) => labels['spot-start.enable']?.trim().toLowerCase() ?? []);
  const enabled = enable.includes('false') ? false : enable.includes('true') ? true : undefined;
  const requires = labelSets.flatMap((labels) =>
    (labels['spot-start.requires'] ?? '').split(',').flatMap((item) => item.trim() || []),
  );
  return {
    enabled,
    labelled: enabled === true || (enabled !== false && labelSets.some((labels) => 'spot-start.host' in labels)),
    requires: [...new Set(requires)],
  };
}
