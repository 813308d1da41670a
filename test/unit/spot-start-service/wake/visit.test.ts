import { expect, test } from 'vitest';
import { createLimit } from '../../../../functions/spot-start-service/wake/limits.ts';
import { addressOf, mayStart } from '../../../../functions/spot-start-service/wake/visit.ts';

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const may = (headers: Record<string, string>, method = 'GET') =>
  mayStart({ method, headers: { 'user-agent': firefox, ...headers } });

test.each([
  ['a browser', {}],
  ['a browser that says it opens a page', { 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate' }],
  ['a page that frames the service', { 'sec-fetch-dest': 'iframe' }],
  ['the app of a service', { 'user-agent': 'Jellyfin/2.6.2 Android', accept: 'application/json' }],
  [
    'Safari on a phone',
    {
      'user-agent':
        'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile/15E148 Safari/604.1',
    },
  ],
  ['curl', { 'user-agent': 'curl/8.15.0' }],
])('lets %s start a service', (_, headers) => {
  expect(may(headers)).toBe(true);
});

test.each<[string, Record<string, string>]>([
  ['a prefetch of Chromium', { 'sec-purpose': 'prefetch;prerender' }],
  ['a prefetch of Safari', { purpose: 'prefetch' }],
  ['a prefetch of Firefox', { 'x-moz': 'prefetch' }],
  ['a preview', { 'x-purpose': 'preview' }],
  ['a look of our own page', { 'x-spot-start': 'poll' }],
  ['an image on another page', { 'sec-fetch-dest': 'image' }],
  ['a script of an open tab', { 'sec-fetch-dest': 'empty' }],
  ['a caller without a name', { 'user-agent': '' }],
  ...[
    'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0)',
    'facebookexternalhit/1.1',
    'WhatsApp/2.23.20.0',
    'TelegramBot (like TwitterBot)',
    'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
    'Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)',
    'Mastodon/4.4.0 (http.rb/5.2.0; +https://example.social/)',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)',
    'Uptime-Kuma/2.0.1',
    'Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)',
    'kube-probe/1.33',
    'Blackbox Exporter/0.27.0',
    'Expanse, a Palo Alto Networks company, searches across the global IPv4 space',
  ].map((agent): [string, Record<string, string>] => [agent, { 'user-agent': agent }]),
])('does not let %s start one', (_, headers) => {
  expect(may(headers)).toBe(false);
});

test('does not let HEAD or POST start one', () => {
  expect([may({}, 'HEAD'), may({}, 'POST')]).toEqual([false, false]);
});

test('knows a visitor by the address that the first proxy saw', () => {
  expect(addressOf({ 'x-forwarded-for': '203.0.113.7, 10.0.0.1' }, '127.0.0.1')).toBe('203.0.113.7');
  expect(addressOf({}, '127.0.0.1')).toBe('127.0.0.1');
});

test('gives tokens back with time, to each name its own, and forgets the oldest names', () => {
  let nowMs = 0;
  const limit = createLimit({ burst: 2, perMinute: 6, maxNames: 2, now: () => nowMs });
  expect([limit('a'), limit('a'), limit('a'), limit('b')]).toEqual([0, 0, 10, 0]);
  nowMs = 10_000;
  expect([limit('a'), limit('a')]).toEqual([0, 10]);
  limit('c');
  limit('d');
  expect(limit('a')).toBe(0);
});
