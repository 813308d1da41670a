import type { IncomingHttpHeaders } from 'node:http';

interface Visit {
  method: string;
  headers: IncomingHttpHeaders;
}

/** The page's own look at what happens: it never starts anything. */
export const pollHeader = 'x-spot-start';

// Crawlers, link previews, monitors: they read every address that they find, and would keep every service awake.
const machines = new RegExp(
  [
    'bot\\b|bots\\b|crawl|spider|slurp|scrap|archiver|preview|facebookexternalhit|facebookcatalog|embedly|iframely|unfurl',
    'whatsapp|skypeuri|vkshare|flipboard|tumblr|bitlybot|quora link|pinterest|mastodon|pleroma|misskey|lemmy|akkoma',
    'bingpreview|google-|googleother|mediapartners|apis-google|feedfetcher|google web preview|chatgpt-user|perplexity',
    'claude-|anthropic|gptbot|ccbot|bytespider|petalsearch|dataprovider|semrush|ahrefs|censys|zgrab|masscan|nmap|expanse',
    'uptime|pingdom|statuscake|site24x7|hetrix|updown\\.io|freshping|datadog|newrelic|zabbix|nagios|check_http|icinga',
    'kube-probe|googlehc|elb-healthchecker|prometheus|blackbox|gatus|healthcheck|monitor|lighthouse|headlesschrome-probe',
    'feed|rss|simplepie|miniflux|freshrss|validator|w3c_',
  ].join('|'),
  'i',
);

const one = (value: string | string[] | undefined) => [value ?? ''].flat().join(', ').toLowerCase();

/** A browser that fetches in advance, for somebody who may never come: `Sec-Purpose`, `Purpose`, `X-Moz`, `X-Purpose`. */
function isAhead(headers: IncomingHttpHeaders): boolean {
  return ['sec-purpose', 'purpose', 'x-moz', 'x-purpose'].some((name) =>
    /prefetch|prerender|preview/.test(one(headers[name])),
  );
}

export const isPoll = ({ headers }: Visit) => one(headers[pollHeader]) === 'poll';

/**
 * May this call start a service? Only a person's: a GET that is no look of our own page, no prefetch, no crawler's, and
 * where the browser says so (`Sec-Fetch-Dest`) one for a page and not for an image or a script of some other site's.
 */
export function mayStart(visit: Visit): boolean {
  const { method, headers } = visit;
  if (method !== 'GET' || isPoll(visit) || isAhead(headers)) return false;
  const destination = one(headers['sec-fetch-dest']);
  if (!['', 'document', 'iframe', 'frame'].includes(destination)) return false;
  const agent = one(headers['user-agent']);
  return agent !== '' && !machines.test(agent);
}

/** Who shares a limit: the address that the first proxy saw. It can be forged, which is why there is a limit for all too. */
export function addressOf(headers: IncomingHttpHeaders, remoteAddress: string): string {
  const first = one(headers['x-forwarded-for']).split(',')[0]?.trim() ?? '';
  return (first === '' ? remoteAddress : first).slice(0, 64);
}
