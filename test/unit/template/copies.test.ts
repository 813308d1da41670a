import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseGoDuration, parseServerSettings } from '../../../template/node24-ts/settings.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test.each([
  ['template/node24-ts/function/function.ts', 'shared/http/function.ts'],
  ['template/node24-ts/iso.ts', 'shared/iso.ts'],
  ['template/node24-ts/log.ts', 'shared/log.ts'],
])('%s is the same file as %s', (copy, original) => {
  expect(read(copy)).toBe(read(original));
});

test('the sample pins what the repository pins', () => {
  const root = JSON.parse(read('package.json')).dependencies;
  const sample = JSON.parse(read('template/node24-ts/function/package.json')).dependencies;
  for (const [name, version] of Object.entries(sample)) expect([name, version]).toEqual([name, root[name]]);
  const lock = JSON.parse(read('template/node24-ts/function/package-lock.json'));
  expect(lock.packages[''].dependencies).toEqual(sample);
  expect(JSON.stringify(lock)).not.toContain('"resolved"');
});

test('the image runs the Node that the tests run on', () => {
  const { node } = JSON.parse(read('package.json')).devDependencies;
  expect(read('template/node24-ts/Dockerfile')).toContain(`NODE_IMAGE=node:${node}-`);
});

test('the sample has the compiler options of the repository', () => {
  const options = (text: string) => text.slice(text.indexOf('"compilerOptions"'));
  expect(options(read('template/node24-ts/function/tsconfig.json'))).toBe(options(read('tsconfig.json')));
});

test.each([
  ['5s', 5_000],
  ['1m30s', 90_000],
  ['1.5s', 1_500],
  ['250ms', 250],
  ['20', 20_000],
  ['', undefined],
  ['soon', undefined],
])('reads the duration "%s" as of-watchdog does', (text, milliseconds) => {
  expect(parseGoDuration(text)).toBe(milliseconds);
});

test('names every bad setting of the server and shows no value', () => {
  const parse = () => parseServerSettings({ PORT: '70000', MAX_BODY_BYTES: '1e6' });
  expect(parse).toThrow(/PORT: .*MAX_BODY_BYTES: /);
  expect(parse).not.toThrow(/70000|1e6/);
});
