import { HttpError } from '#shared/errors.ts';

/** As hosts are compared: lower case, no dot at the end. */
export const toHost = (text: string) => text.trim().toLowerCase().replace(/\.$/, '');

/**
 * Host and path of the URL that a visitor wanted; a scheme may be missing, a port does not matter. It is compared and
 * never fetched. Throws HttpError 400 `invalid_referral_url`.
 */
export function parseReferral(referralUrl: string): { host: string; path: string } {
  const text = referralUrl.trim();
  const url = text.length > 2_048 ? null : URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  const host = toHost(url?.hostname.replace(/^\[|\]$/g, '') ?? '');
  if (url !== null && host !== '' && host.length <= 253) return { host, path: url.pathname };
  throw new HttpError(400, 'referral_url is not a URL with a host', { code: 'invalid_referral_url' });
}
