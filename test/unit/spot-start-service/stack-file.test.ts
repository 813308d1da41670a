import { expect, test } from 'vitest';
import { parseStackFile } from '../../../functions/spot-start-service/stack/file.ts';
import { interpolate } from '../../../functions/spot-start-service/stack/interpolate.ts';

const env = (values: Record<string, string>) => Object.entries(values).map(([name, value]) => ({ name, value }));

test('gives labels of both forms with variables filled in, images, ports and the variables of nginx-proxy', async () => {
  const text = `
x-labels: &common { traefik.enable: "true" }
services:
  web:
    image: "nginx:\${TAG:-1}"
    labels: { <<: *common, home.resolve.domain: "\${NAME:-www}.\${DOMAIN}", lost: "\${UNSET}.example" }
    environment: ["VIRTUAL_HOST=a.\${DOMAIN}", "PASSWORD=\${SECRET}"]
    ports: ["8080:80", "127.0.0.1:443:443/tcp", { published: 81, target: 1 }, "90"]
  api:
    deploy: { labels: ["a=b=c"], replicas: 2 }
    labels: ["cost=$$5", flag]
    environment: { VIRTUAL_HOST_MULTIPORTS: "{}", OTHER: x }
`;
  expect(await parseStackFile(text, env({ DOMAIN: 'server.local', SECRET: 'word' }))).toEqual([
    {
      name: 'web',
      image: 'nginx:1',
      labels: { 'traefik.enable': 'true', 'home.resolve.domain': 'www.server.local' },
      env: { VIRTUAL_HOST: 'a.server.local' },
      hostPorts: [8080, 443, 81],
      expected: true,
    },
    {
      name: 'api',
      image: '',
      labels: { a: 'b=c', cost: '$5', flag: '' },
      env: { VIRTUAL_HOST_MULTIPORTS: '{}' },
      hostPorts: [],
      expected: true,
    },
  ]);
});

test('expects a container of each service but those with a profile, without copies, or taken out by a label', async () => {
  const text = `
services:
  web: {}
  none:
  debug: { profiles: [debug] }
  off: { deploy: { replicas: 0 } }
  nothing: { scale: "\${COPIES}" }
  job: { labels: { spot-start.oneshot: "true" } }
  helper: { labels: ["spot-start.ignore=true"] }
  two: { deploy: { replicas: 2 }, profiles: [] }
`;
  const services = await parseStackFile(text, env({ COPIES: '0' }));
  expect(services?.filter(({ expected }) => expected).map(({ name }) => name)).toEqual(['web', 'none', 'two']);
});

test('follows extends within the file, and does not follow it into another one or in a circle', async () => {
  const text = `
services:
  base: { image: app, labels: { a: "1", b: "1" } }
  web: { extends: { service: base }, labels: ["b=2"] }
  far: { extends: { file: other.yml, service: base }, labels: { c: "3" } }
  round: { extends: round }
`;
  const labels = (await parseStackFile(text, []))?.map((item) => item.labels);
  expect(labels).toEqual([{ a: '1', b: '1' }, { a: '1', b: '2' }, { c: '3' }, {}]);
});

test.each(['', 'services: [', 'just text', 'version: "3"', `services: {a: {image: ${'x'.repeat(1_000_001)}}}`])(
  'a file that is %.20j is none',
  async (text) => {
    expect(await parseStackFile(text, [])).toBeUndefined();
  },
);

test('a file whose anchors grow without end is none', async () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const before = Array(10)
      .fill(`*a${level - 1}`)
      .join(',');
    return `a${level}: &a${level} [${level === 0 ? 'x' : before}]`;
  });
  expect(await parseStackFile(`${levels.join('\n')}\nservices: {a: {}}`, [])).toBeUndefined();
});

test.each([
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: the syntax of compose
  ['$A-${A}-${B:-d}-${EMPTY:-d}', '1-1-d-d', true],
  ['${EMPTY-d}|${A:+r}|${EMPTY:+r}', '|r|', true],
  ['${A:?must}|${A:-x}', '1|1', true],
  ['${B:-${A}}.${B:-${C:-deep}}', '1.deep', true],
  ['${B}.example', '.example', false],
  ['$B', '', false],
  ['${B:?must}', '', false],
  ['${B-${C}}', '', false],
  ['${B+r}', '', true],
  ['${A', '${A', true],
  ['${A!}', '${A!}', true],
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: the syntax of compose
  ['$$A costs $5', '$A costs $5', true],
])('has %s interpolated to %s (complete: %s)', (text, expected, complete) => {
  const values = new Map([
    ['A', '1'],
    ['EMPTY', ''],
  ]);
  expect(interpolate(text, values)).toEqual({ text: expected, complete });
});

test('says nothing of a text that is too long, and does not take the square of its length', () => {
  expect(interpolate('${'.repeat(500_000), new Map())).toEqual({ text: '', complete: false });
});
