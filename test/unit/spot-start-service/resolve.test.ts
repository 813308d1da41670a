import { describe, expect, test } from 'vitest';
import { parseReferral, parseTraefikRule, rankHost } from '../../../functions/spot-start-service/hosts.ts';
import { matchHost, matchName, normaliseStackName } from '../../../functions/spot-start-service/resolve.ts';
import { interpolate, parseStackFile } from '../../../functions/spot-start-service/stack-file.ts';

const one = { id: 10, name: 'prod-vm-1' };
const two = { id: 20, name: 'prod-vm-2' };

test.each([
  ['Next Cloud!', 'nextcloud'],
  ['a_B-3', 'a_b-3'],
  ['', ''],
])('normalises the stack name %j to %j', (name, expected) => expect(normaliseStackName(name)).toBe(expected));

describe('a name', () => {
  const candidates = [
    { name: 'Media', endpoint: one, stackId: 1 },
    { name: 'media', endpoint: two, stackId: 2 },
    { name: 'photos', endpoint: one, stackId: 3 },
    { name: 'photos', endpoint: two, stackId: 4 },
    { name: 'tools', endpoint: one, stackId: null },
    { name: 'tools', endpoint: two, stackId: 5 },
  ].map((item) => ({ ...item, project: normaliseStackName(item.name) }));
  test.each<[string, { endpoint?: string; stackId?: string }, (number | null)[]]>([
    ['media', {}, [2]],
    ['Media', {}, [1]],
    ['MEDIA', {}, [1, 2]],
    ['photos', {}, [3, 4]],
    ['photos', { endpoint: 'prod-vm-2' }, [4]],
    ['photos', { endpoint: '10' }, [3]],
    ['photos', { stackId: '4' }, [4]],
    ['photos', { stackId: '5' }, []],
    ['tools', {}, [5]],
    ['tools', { endpoint: '10' }, [null]],
    ['nothing', {}, []],
    ['!!', {}, []],
  ])('%s with %j means the stacks %j', (name, told, expected) => {
    expect(matchName(candidates, name, told).map(({ stackId }) => stackId)).toEqual(expected);
  });
});

test.each([
  ['https://Example.Server.local/x?y#z', 'example.server.local'],
  ['example.server.local:8443/path', 'example.server.local'],
  ['https://example.server.local.', 'example.server.local'],
  ['https://user:word@example.server.local', 'example.server.local'],
  ['http://[2001:db8::1]:80/', '2001:db8::1'],
  ['https://bücher.example', 'xn--bcher-kva.example'],
])('reads the host of %s', (url, host) => expect(parseReferral(url).host).toBe(host));

test.each(['https://', 'http://a b', `https://a.example/${'x'.repeat(3_000)}`])('refuses %s as a URL', (url) => {
  expect(() => parseReferral(url)).toThrow('referral_url is not a URL with a host');
});

test.each([
  ['Host(`a.example`)', ['a.example']],
  ['Host(`a.example`) || Host("B.example")', ['a.example', 'b.example']],
  ['Host(`a.example`, `b.example`) && PathPrefix(`/x`)', ['a.example', 'b.example']],
  ['Host(`a.example`) && !Host(`b.example`)', ['a.example']],
  ['HostRegexp(`.+`)', []],
  ['PathPrefix(`/`)', []],
  ['Host(``)', []],
])('reads the hosts of the Traefik rule %s', (rule, hosts) => expect(parseTraefikRule(rule)).toEqual(hosts));

test.each([
  ['a.example', { 'spot-start.host': 'x.example, a.example' }, 0],
  ['a.example', { 'home.resolve.domain': 'a.example' }, 1],
  ['a.example', { 'traefik.http.routers.r.rule': 'Host(`a.example`)' }, 1],
  ['a.example', { 'traefik.http.routers.r.rule': 'Host(`*.example`)' }, 2],
  ['a.b.example', { 'traefik.http.routers.r.rule': 'Host(`*.example`)' }, undefined],
  ['a.example', { 'org.opencontainers.image.url': 'https://a.example' }, undefined],
])('ranks the host %s by the labels %j as %s', (host, labels, rank) => expect(rankHost(host, [labels])).toBe(rank));

describe('a host', () => {
  const stack = (name: string, stackId: number, labels: Record<string, string> = {}) => ({
    name,
    project: name,
    stackId,
    endpoint: one,
    labels: [labels],
  });
  const claim = (host: string) => ({ 'home.resolve.domain': host });

  test('is found by the best claim alone', () => {
    const found = matchHost(
      [stack('a', 1, claim('x.example')), stack('b', 2, { 'spot-start.host': 'x.example' })],
      'x.example',
    );
    expect(found.map(({ stackId }) => stackId)).toEqual([2]);
  });
  test('is ambiguous when two claim it alike', () => {
    expect(matchHost([stack('a', 1, claim('x.example')), stack('b', 2, claim('x.example'))], 'x.example')).toHaveLength(
      2,
    );
  });
  test('falls back to the one stack of its first part', () => {
    const stacks = [stack('nextcloud', 1), stack('n8n', 2)];
    expect(matchHost(stacks, 'nextcloud.server.local').map(({ stackId }) => stackId)).toEqual([1]);
  });
  test('does not fall back to a name that two stacks have', () => {
    expect(matchHost([stack('n8n', 1), { ...stack('n8n', 2), endpoint: two }], 'n8n.server.local')).toEqual([]);
  });
  test.each(['n8n', '10.0.0.5', '10'])('%s is no name of a stack', (host) => {
    expect(matchHost([stack('n8n', 1), stack('10', 2)], host)).toEqual([]);
  });
});

describe('a stack file', () => {
  test('gives labels of both forms with variables filled in, and the services that must run', () => {
    const text = `
x-labels: &common { traefik.enable: "true" }
services:
  web:
    labels: { <<: *common, home.resolve.domain: "\${NAME:-www}.\${DOMAIN}" }
  api:
    deploy: { labels: ["a=b=c"], replicas: 2 }
    labels: ["cost=$$5", flag]
  debug: { profiles: [debug] }
  off: { deploy: { replicas: 0 } }
  none:
`;
    expect(parseStackFile(text, [{ name: 'DOMAIN', value: 'server.local' }])).toEqual({
      labels: [
        { 'traefik.enable': 'true', 'home.resolve.domain': 'www.server.local' },
        { a: 'b=c', cost: '$5', flag: '' },
        {},
        {},
        {},
      ],
      expected: ['web', 'api', 'none'],
    });
  });

  test.each(['', 'services: [', 'just text', 'version: "3"'])('that is %j is none', (text) => {
    expect(parseStackFile(text, [])).toBeUndefined();
  });

  test.each([
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: the syntax of compose
    ['$A-${A}-${B:-d}-${EMPTY:-d}', '1-1-d-d'],
    ['${EMPTY-d}|${B-d}|${A:+r}|${B+r}|${B:?must}', '|d|r||'],
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: the syntax of compose
    ['$$A costs $5', '$A costs $5'],
  ])('has %s interpolated to %s', (text, expected) => {
    const env = [
      { name: 'A', value: '1' },
      { name: 'EMPTY', value: '' },
    ];
    expect(interpolate(text, env)).toBe(expected);
  });
});
