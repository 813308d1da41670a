import type { IncomingHttpHeaders } from 'node:http';
import { HttpError } from '#shared/errors.ts';

const one = (value: string | string[] | undefined) => [value ?? ''].flat().join(', ');

/**
 * What follows `referral_url=`. nginx and Caddy cannot encode, so a URL that stands there unencoded goes to the end of
 * the query with every `&` of its own; an encoded one ends at the next parameter.
 */
function readParameter(url: string): string | undefined {
  const query = url.split('?').slice(1).join('?');
  const found = /(?:^|&)referral_url=(.*)$/s.exec(query)?.[1];
  if (found === undefined || /^(https?:\/\/|\/)/i.test(found)) return found;
  try {
    return decodeURIComponent((found.split('&')[0] ?? '').replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

/** Traefik's replacePath keeps the visitor's query, and tells the path in a header of its own; a visitor can send one too, before it. */
function readForwarded(headers: IncomingHttpHeaders, url: string, parameter: string | undefined): string | undefined {
  const host = one(headers['x-forwarded-host']).split(',').at(-1)?.trim() ?? '';
  if (host === '') return undefined;
  const scheme = /^https\b/i.test(one(headers['x-forwarded-proto'])) ? 'https' : 'http';
  const replaced = one(headers['x-replaced-path']).split(', ').at(-1) ?? '';
  if (replaced.startsWith('/')) {
    const at = url.indexOf('?');
    return `${scheme}://${host}${replaced}${at < 0 ? '' : url.slice(at)}`;
  }
  return parameter?.startsWith('/') ? `${scheme}://${host}${parameter}` : undefined;
}

/**
 * The URL that a visitor wanted: `referral_url`, a whole URL or a path beside `X-Forwarded-Host`, or what Traefik's
 * headers say. It is compared and shown, never fetched. Throws HttpError 400 `invalid_referral_url`.
 */
export function readWantedUrl(call: { url: string; headers: IncomingHttpHeaders }): URL {
  const parameter = readParameter(call.url);
  const text = readForwarded(call.headers, call.url, parameter) ?? parameter ?? '';
  const whole = /^[a-z][a-z0-9+.-]*:/i.test(text) && !/^[^/]*:\d/.test(text) ? text : `http://${text}`;
  const url = text.length > 2_048 || text.startsWith('/') ? null : URL.parse(whole);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw new HttpError(400, 'referral_url is not a URL with a host', { code: 'invalid_referral_url' });
  }
  url.username = '';
  url.password = '';
  return url;
}
