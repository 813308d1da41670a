import { expect, test } from 'vitest';
import { readWantedUrl } from '../../../../functions/spot-start-service/wake/address.ts';

const read = (url: string, headers: Record<string, string> = {}) => readWantedUrl({ url, headers }).href;

test.each([
  ['an unencoded URL with a query of its own', 'https://a.local/p?x=1&y=2', 'https://a.local/p?x=1&y=2'],
  ['an encoded URL', 'https%3A%2F%2Fa.local%2Fp%3Fx%3D1%26y%3D2&other=3', 'https://a.local/p?x=1&y=2'],
  [
    'escapes of the wanted path, which stay as they are',
    'https://a.local/%2F%20?q=%26',
    'https://a.local/%2F%20?q=%26',
  ],
  ['only a host', 'a.local', 'http://a.local/'],
  ['a host with a port', 'a.local:8443', 'http://a.local:8443/'],
  ['a name and a password, which go', 'https://me:secret@a.local/', 'https://a.local/'],
])('reads %s', (_, parameter, expected) => {
  expect(read(`/wake?referral_url=${parameter}`)).toBe(expected);
});

test('reads a path beside the host that a proxy tells', () => {
  const headers = { 'x-forwarded-host': 'a.local', 'x-forwarded-proto': 'https' };
  expect(read('/wake?referral_url=/p?x=1&y=2', headers)).toBe('https://a.local/p?x=1&y=2');
});

test("reads what Traefik's replacePath tells, with the visitor's own query", () => {
  const headers = { 'x-forwarded-host': 'a.local', 'x-forwarded-proto': 'https', 'x-replaced-path': '/p/q' };
  expect(read('/wake?x=1&referral_url=https://b.local', headers)).toBe(
    'https://a.local/p/q?x=1&referral_url=https://b.local',
  );
  expect(read('/wake', headers)).toBe('https://a.local/p/q');
});

test("takes the proxy's own path where a visitor sent another one before it", () => {
  const headers = { 'x-forwarded-host': 'a.local', 'x-replaced-path': '//evil.example/, /real' };
  expect(read('/wake', headers)).toBe('http://a.local/real');
});

test.each([
  '/wake',
  '/wake?referral_url=',
  '/wake?referral_url=javascript:alert(1)',
  '/wake?referral_url=ftp://a.local',
  '/wake?referral_url=%E0%A4%A',
  '/wake?referral_url=/only/a/path',
  `/wake?referral_url=https://a.local/${'x'.repeat(2_100)}`,
])('refuses %s', (url) => {
  expect(() => readWantedUrl({ url, headers: {} })).toThrow('referral_url is not a URL with a host');
});
