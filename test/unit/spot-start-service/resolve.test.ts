import { beforeAll, describe, expect, test } from 'vitest';
import {
  type Claim,
  readClaims,
  readPolicy,
  type Source,
} from '../../../functions/spot-start-service/resolve/claims.ts';
import { parseHostMap } from '../../../functions/spot-start-service/resolve/map.ts';
import { matchHost, matchName, normaliseStackName } from '../../../functions/spot-start-service/resolve/match.ts';
import { parseReferral } from '../../../functions/spot-start-service/resolve/referral.ts';
import { createRegexps } from '../../../functions/spot-start-service/resolve/regexp.ts';
import { fitRule } from '../../../functions/spot-start-service/resolve/rule.ts';
import { parseTraefikRule, toGoRegexp } from '../../../functions/spot-start-service/resolve/traefik.ts';

const one = { id: 10, name: 'prod-vm-1', kind: 'docker' as const };
const two = { id: 20, name: 'prod-vm-2', kind: 'docker' as const };
const regexps = createRegexps();
const { matches } = regexps;
beforeAll(() => regexps.load());

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
  test.each<[string | undefined, { endpoint?: string; stackId?: string }, (number | null)[]]>([
    ['media', {}, [2]],
    ['Media', {}, [1]],
    ['MEDIA', {}, [1, 2]],
    ['photos', {}, [3, 4]],
    ['photos', { endpoint: 'prod-vm-2' }, [4]],
    ['photos', { endpoint: 'PROD-VM-2' }, [4]],
    ['photos', { endpoint: '10' }, [3]],
    ['photos', { stackId: '4' }, [4]],
    ['photos', { stackId: '5' }, []],
    ['tools', {}, [5]],
    ['tools', { endpoint: '10' }, [null]],
    ['nothing', {}, []],
    ['!!', {}, []],
    [undefined, { stackId: '4' }, [4]],
    [undefined, {}, []],
  ])('%s with %j means the stacks %j', (name, told, expected) => {
    expect(matchName(candidates, name, told).map(({ stackId }) => stackId)).toEqual(expected);
  });
});

test.each([
  ['https://Example.Server.local/x?y#z', 'example.server.local', '/x'],
  ['example.server.local:8443/path/', 'example.server.local', '/path/'],
  ['https://example.server.local.', 'example.server.local', '/'],
  ['https://user:word@example.server.local', 'example.server.local', '/'],
  ['http://[2001:db8::1]:80/', '2001:db8::1', '/'],
  ['https://bücher.example', 'xn--bcher-kva.example', '/'],
])('reads host and path of %s', (url, host, path) => expect(parseReferral(url)).toEqual({ host, path }));

test.each(['https://', 'http://a b', `https://a.example/${'x'.repeat(3_000)}`, `https://${'a.'.repeat(200)}example`])(
  'refuses %s as a URL',
  (url) => {
    expect(() => parseReferral(url)).toThrow('referral_url is not a URL with a host');
  },
);

/** How a rule of Traefik fits a URL: `exact`, `wildcard` or `regexp`, with the length of the path it asks for. */
function fitOf(rule: string, url: string): string {
  const parsed = parseTraefikRule(rule);
  const found = parsed && fitRule(parsed, parseReferral(url), matches);
  return found === undefined ? 'no' : `${['exact', 'wildcard', 'regexp'][found.kind]} ${found.prefix}`;
}

describe('a rule of Traefik', () => {
  test.each([
    ['Host(`a.example`)', 'a.example', 'exact 0'],
    ['Host(`A.Example`)', 'a.example', 'exact 0'],
    ['Host("a.example")', 'a.example', 'exact 0'],
    ['Host(`a.example`)', 'b.example', 'no'],
    ['Host(`a.example`) || Host(`b.example`)', 'b.example', 'exact 0'],
    ['Host(`a.example`, `b.example`)', 'b.example', 'exact 0'],
    ['Host(`*.example`)', 'a.example', 'wildcard 0'],
    ['Host(`*.example`)', 'b.a.example', 'no'],
    ['Host(`**.example`)', 'b.a.example', 'wildcard 0'],
    ['Host(`a.example`) && PathPrefix(`/app`)', 'a.example/app/x', 'exact 4'],
    ['Host(`a.example`) && PathPrefix(`/app`)', 'a.example/other', 'no'],
    ['Host(`a.example`) && (PathPrefix(`/x`) || Path(`/yy`))', 'a.example/yy', 'exact 3'],
    ['Host(`a.example`) && Path(`/yy`)', 'a.example/yy/z', 'no'],
    ['Host(`a.example`) && !PathPrefix(`/api`)', 'a.example/api', 'no'],
    ['Host(`a.example`) && !PathPrefix(`/api`)', 'a.example/', 'exact 0'],
    ['!Host(`a.example`)', 'b.example', 'no'],
    ['HostRegexp(`.+`) && !Host(`a.example`)', 'a.example', 'no'],
    ['Host(`a.example`) && Headers(`X-A`, `b`)', 'a.example', 'exact 0'],
    ['Host(`a.example`) && !ClientIP(`10.0.0.0/8`)', 'a.example', 'exact 0'],
    ['HostRegexp(`^.+\\.example\\.com$`)', 'x.example.com', 'regexp 0'],
    ['HostRegexp(`^.+\\.example\\.com$`)', 'x.example.com.evil.test', 'no'],
    ['HostRegexp(`(?i)^APP-[0-9]{1,3}\\.example$`)', 'app-12.example', 'regexp 0'],
    ['HostRegexp(`{sub:[a-z]{2,5}}.example.com`)', 'abc.example.com', 'regexp 0'],
    ['HostRegexp(`{sub:[a-z]{2,5}}.example.com`)', 'a1.example.com', 'no'],
    ['HostRegexp(`{sub:[a-z]+}.example.com`)', 'abc.exampleXcom', 'no'],
    ['HostRegexp(`.+`)', 'a.example', 'no'],
    ['HostRegexp(`{any:.*}`)', 'a.example', 'no'],
    ['HostSNI(`*`)', 'a.example', 'no'],
    ['PathPrefix(`/`)', 'a.example', 'no'],
    ['Host(``)', 'a.example', 'no'],
    ['Host(`a.example`', 'a.example', 'no'],
    ["Host('a.example')", 'a.example', 'no'],
    ['Host(`a.example`) Host(`b.example`)', 'a.example', 'no'],
    ['HostRegexp(`([`)', 'a.example', 'no'],
    [`${'('.repeat(100)}Host(\`a.example\`)${')'.repeat(100)}`, 'a.example', 'no'],
  ])('%s fits %s: %s', (rule, url, expected) => expect(fitOf(rule, url)).toBe(expected));

  test('with a regexp that takes for ever elsewhere is run in no time', () => {
    const host = `${'a'.repeat(60)}!.${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
    const startedAt = process.cpuUsage().user;
    expect(matches('^(a+)+(a+)+(a|aa)+$', host)).toBe(false);
    // A backtracking engine would need longer than the sun shines: any bound shows it.
    expect(process.cpuUsage().user - startedAt).toBeLessThan(5_000_000);
  });

  test.each([
    ['{sub:[a-z]+}.example.com', '^(?:[a-z]+)\\.example\\.com$'],
    ['{any}.example', '^(?:[^.]+)\\.example$'],
    ['^a{2,3}\\.example$', '^a{2,3}\\.example$'],
  ])('of version 2, %s, becomes the regexp %s', (pattern, expected) => expect(toGoRegexp(pattern)).toBe(expected));
});

describe('a host is claimed', () => {
  type Row = [labels: Record<string, string>, env: Record<string, string>, url: string, source: Source | undefined];
  test.each<Row>([
    [{ 'spot-start.host': 'x.example, a.example' }, {}, 'a.example', 'spot-start'],
    [{ 'home.resolve.domain': 'a.example' }, {}, 'a.example', 'home.resolve.domain'],
    [{ 'traefik.http.routers.r.rule': 'Host(`a.example`)' }, {}, 'a.example', 'traefik'],
    [{ 'traefik.http.routers.r.rule': 'Host(`a.example`)', 'traefik.enable': 'false' }, {}, 'a.example', undefined],
    [{ 'traefik.tcp.routers.r.rule': 'HostSNI(`a.example`)' }, {}, 'a.example', 'traefik'],
    [{ 'traefik.frontend.rule': 'Host:x.example,a.example;PathPrefix:/x' }, {}, 'a.example/x', 'traefik'],
    [{ 'traefik.frontend.rule': 'Host:a.example;PathPrefix:/x' }, {}, 'a.example/y', undefined],
    [{ 'traefik.web.frontend.rule': 'HostRegexp:{sub:[a-z]+}.example' }, {}, 'a.example', 'traefik'],
    [{ caddy: 'x.example, https://a.example:8443' }, {}, 'a.example', 'caddy'],
    [{ caddy_0: 'a.example/app/*' }, {}, 'a.example/app/1', 'caddy'],
    [{ caddy_0: 'a.example/app/*' }, {}, 'a.example/', undefined],
    [{ caddy_1: '*.example' }, {}, 'a.example', 'caddy'],
    [{ caddy: '(snippet)' }, {}, 'snippet', undefined],
    [{ caddy: ':80' }, {}, 'a.example', undefined],
    [{ 'caddy.reverse_proxy': 'a.example' }, {}, 'a.example', undefined],
    [{}, { VIRTUAL_HOST: 'x.example,a.example' }, 'a.example', 'nginx-proxy'],
    [{}, { VIRTUAL_HOST: '*.example' }, 'b.a.example', 'nginx-proxy'],
    [{}, { VIRTUAL_HOST: 'a.example.*' }, 'a.example.org', 'nginx-proxy'],
    [{}, { VIRTUAL_HOST: '~^a[0-9]+\\.example$' }, 'a12.example', 'nginx-proxy'],
    [{}, { VIRTUAL_HOST: 'a.example', VIRTUAL_PATH: '/app' }, 'a.example/x', undefined],
    [{}, { VIRTUAL_HOST_MULTIPORTS: 'a.example:\n  "/": { port: 80 }\n' }, 'a.example', 'nginx-proxy'],
    [{}, { VIRTUAL_HOST_MULTIPORTS: '{"a.example": {"/x": {"port": 90}}}' }, 'a.example/y', undefined],
    [{}, { VIRTUAL_HOST_MULTIPORTS: '[' }, 'a.example', undefined],
    [{}, { LETSENCRYPT_HOST: 'a.example' }, 'a.example', 'nginx-proxy'],
    [{ 'org.opencontainers.image.url': 'https://a.example' }, {}, 'a.example', undefined],
    [{ 'spot-start.host': '*' }, {}, 'a.example', undefined],
    [{ 'spot-start.host': 'api-*.example' }, {}, 'a.example', undefined],
  ])('by the labels %j and the variables %j: %s by %s', async (labels, env, url, source) => {
    const claims = await readClaims(labels, env);
    const fitting = claims.filter(({ rule }) => fitRule(rule, parseReferral(url), matches) !== undefined);
    expect(fitting[0]?.source).toBe(source);
  });
});

describe('a host', () => {
  const stack = async (name: string, stackId: number, labels: Record<string, string> = {}, endpoint = one) => ({
    name,
    project: name,
    stackId,
    endpoint,
    claims: await readClaims(labels, {}),
  });
  const claim = (host: string) => ({ 'home.resolve.domain': host });
  const rule = (text: string) => ({ 'traefik.http.routers.r.rule': text });
  type Item = Awaited<ReturnType<typeof stack>>;
  const find = (items: Item[], url: string, options: { map?: string; nameDomains?: string[] } = {}) => {
    const { map = '', nameDomains = [] } = options;
    return matchHost(items, parseReferral(url), { map: parseHostMap(map) ?? [], matches, nameDomains });
  };
  const ids = (found: ReturnType<typeof find>) => found.items.map(({ stackId }) => stackId);

  test('is found by the best claim alone: map, own label, home.resolve.domain, Traefik, caddy, then the name', async () => {
    const ranked = [
      await stack('mapped', 1),
      await stack('b', 2, { 'spot-start.host': 'x.example' }),
      await stack('c', 3, claim('x.example')),
      await stack('d', 4, rule('Host(`x.example`)')),
      await stack('e', 5, { caddy: 'x.example' }),
      await stack('x', 6),
    ];
    for (const [index, { stackId }] of ranked.entries()) {
      const map = index === 0 ? 'x.example=mapped' : '';
      expect(ids(find(ranked.slice(index), 'x.example', { map }))).toEqual([stackId]);
    }
  });

  test('prefers exact to wildcard to regexp, and the longest path', async () => {
    const items = [
      await stack('a', 1, rule('HostRegexp(`^x\\.example$`)')),
      await stack('b', 2, rule('Host(`*.example`)')),
      await stack('c', 3, rule('Host(`x.example`)')),
      await stack('d', 4, rule('Host(`x.example`) && PathPrefix(`/app`)')),
      await stack('e', 5, rule('Host(`x.example`) && PathPrefix(`/app/deep`)')),
    ];
    expect(ids(find(items, 'x.example/app/deep/er'))).toEqual([5]);
    expect(ids(find(items, 'x.example/app'))).toEqual([4]);
    expect(ids(find(items, 'x.example'))).toEqual([3]);
    expect(ids(find(items.slice(0, 2), 'x.example'))).toEqual([2]);
    expect(ids(find(items.slice(0, 1), 'x.example'))).toEqual([1]);
  });

  test('is ambiguous when two claim it alike', async () => {
    const items = [await stack('a', 1, claim('x.example')), await stack('b', 2, claim('x.example'))];
    expect(ids(find(items, 'x.example'))).toEqual([1, 2]);
  });

  test('is mapped with wildcards and to an endpoint', async () => {
    const items = [await stack('photos', 1), await stack('photos', 2, {}, two)];
    expect(ids(find(items, 'a.photos.example', { map: '*.photos.example=prod-vm-2/photos' }))).toEqual([2]);
  });

  test('falls back to the one stack of its first part, which vouches for no redirect', async () => {
    const items = [await stack('nextcloud', 1), await stack('n8n', 2)];
    expect(find(items, 'nextcloud.server.local')).toMatchObject({ source: 'name', hostIsKnown: false });
    const nameDomains = ['server.local'];
    expect(find(items, 'nextcloud.server.local', { nameDomains })).toMatchObject({ source: 'name', hostIsKnown: true });
    expect(ids(find(items, 'nextcloud.evil.test', { nameDomains }))).toEqual([]);
  });

  test('does not fall back to a name that two stacks have', async () => {
    expect(ids(find([await stack('n8n', 1), await stack('n8n', 2, {}, two)], 'n8n.server.local'))).toEqual([]);
  });

  test.each(['n8n', '10.0.0.5', '10'])('%s is no name of a stack', async (host) => {
    expect(ids(find([await stack('n8n', 1), await stack('10', 2)], host))).toEqual([]);
  });

  test('that a catch-all claims is not known', async () => {
    const items = [
      await stack('errors', 1, rule('HostRegexp(`.+`)')),
      await stack('pages', 2, rule('PathPrefix(`/`)')),
    ];
    expect(ids(find(items, 'x.example'))).toEqual([]);
  });
});

test.each([
  ['a.example=one, *.b.example = vm/two ,', 2],
  ['', 0],
  ['a.example', undefined],
  ['=one', undefined],
  ['a.example=', undefined],
  ['*=one', undefined],
  ['a b=one', undefined],
  ['a=b=c', undefined],
])('reads SPOT_START_HOSTS %j as %s mappings', (text, count) => expect(parseHostMap(text)?.length).toBe(count));

test.each<[Record<string, string>[], object]>([
  [[{}], { enabled: undefined, labelled: false, requires: [] }],
  [[{ 'spot-start.enable': 'True' }, {}], { enabled: true, labelled: true }],
  [[{ 'spot-start.host': 'a' }], { enabled: undefined, labelled: true }],
  [[{ 'spot-start.enable': 'true' }, { 'spot-start.enable': 'false' }], { enabled: false, labelled: false }],
  [[{ 'spot-start.host': 'a', 'spot-start.enable': 'false' }], { enabled: false, labelled: false }],
  [[{ 'spot-start.requires': 'db, auth,' }, { 'spot-start.requires': 'db' }], { requires: ['db', 'auth'] }],
])('reads the labels %j as %j', (labels, policy) => expect(readPolicy(labels)).toMatchObject(policy));

test('knows the claims of a label that nobody should have written', async () => {
  const claims: Claim[] = await readClaims({ 'spot-start.host': `${'a.example,'.repeat(5_000)}` }, {});
  expect(claims).toEqual([]);
});
