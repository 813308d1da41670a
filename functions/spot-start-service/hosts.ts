import { HttpError } from '#shared/errors.ts';

/** How sure a label is about a host: the lower the surer. */
export type Rank = 0 | 1 | 2;
export interface HostClaim {
  /** Lower case; `*.example.com` claims one more label. */
  host: string;
  rank: Rank;
}

const toHost = (text: string) => text.trim().toLowerCase().replace(/\.$/, '');

/**
 * Host and path of the URL that a visitor wanted; a scheme may be missing, a port does not matter. It is compared and
 * never fetched. Throws HttpError 400 `invalid_referral_url`.
 */
export function parseReferral(referralUrl: string): { host: string; path: string } {
  const text = referralUrl.trim();
  const url = text.length > 2_048 ? null : URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  const host = toHost(url?.hostname.replace(/^\[|\]$/g, '') ?? '');
  if (url !== null && host !== '') return { host, path: url.pathname };
  throw new HttpError(400, 'referral_url is not a URL with a host', { code: 'invalid_referral_url' });
}

/** The hosts of a Traefik rule: ``Host(`a`) || Host("b")``, v2's ``Host(`a`, `b`)``; a negated matcher claims nothing. */
export function parseTraefikRule(rule: string): string[] {
  const matchers = rule.matchAll(/(!\s*)?\bHost\(([^)]*)\)/g);
  return [...matchers].flatMap(([, negated, values = '']) =>
    negated === undefined ? [...values.matchAll(/[`"]([^`"]+)[`"]/g)].map(([, host = '']) => toHost(host)) : [],
  );
}

/** What a service's labels say about its hosts: our own label first, then those by which proxies and dashboards work. */
export function readHostClaims(labels: Record<string, string>): HostClaim[] {
  const claims: HostClaim[] = [];
  const add = (host: string, rank: Rank) => {
    if (host !== '' && host !== '*') claims.push({ host, rank: host.startsWith('*.') && rank === 1 ? 2 : rank });
  };
  for (const [name, value] of Object.entries(labels)) {
    if (name === 'spot-start.host') for (const host of value.split(',')) add(toHost(host), 0);
    else if (name === 'home.resolve.domain') for (const host of value.split(',')) add(toHost(host), 1);
    else if (/^traefik\.http\.routers\.[^.]+\.rule$/.test(name))
      for (const host of parseTraefikRule(value)) add(host, 1);
  }
  return claims;
}

/** The best rank at which these labels claim the host; undefined when they do not. */
export function rankHost(host: string, labelSets: Record<string, string>[]): Rank | undefined {
  const parent = `*${host.slice(host.indexOf('.'))}`;
  const ranks = labelSets
    .flatMap(readHostClaims)
    .filter((claim) => claim.host === host || claim.host === parent)
    .map(({ rank }) => rank);
  return ranks.length === 0 ? undefined : (Math.min(...ranks) as Rank);
}
