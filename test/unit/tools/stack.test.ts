// biome-ignore-all lint/suspicious/noTemplateCurlyInString: stack files have variables of their own
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { SettingsSchema } from '../../../shared/config/settings.ts';
import { parseDurationMs } from '../../../tools/gateway/duration.ts';
import { findStackFile, readStack } from '../../../tools/stack/stack.ts';

const root = resolve(import.meta.dirname, '../../..');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stack-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

const head = 'provider: {name: openfaas}\nfunctions:\n  hello:\n    lang: node24-ts\n    handler: ./hello\n';

describe('readStack', () => {
  it('replaces variables, then reads every scalar as the text that was written', () => {
    const file = write(
      'stack.yml',
      `${head}    image: \${REGISTRY:-local}/hello:1.10\n    environment: {A: yes, B: 1.10, C: "\${C}", D: }\n`,
    );
    const [hello] = readStack(file, { C: 'three' }).functions;
    expect(hello).toMatchObject({
      name: 'hello',
      image: 'local/hello:1.10',
      folder: join(folder, 'hello'),
      environment: { A: 'yes', B: '1.10', C: 'three', D: '' },
      secrets: [],
      readOnlyRootFilesystem: false,
    });
  });

  it('lays environment files over the environment, the last one on top, without replacing variables in them', () => {
    write('one.yml', 'environment:\n  A: one\n  B: one\n');
    write('two.yml', 'environment:\n  B: two\n  C: ${HOME}\n');
    const file = write(
      'stack.yml',
      `${head}    image: a/b\n    environment: {A: zero, Z: zero}\n    environment_file: [one.yml, two.yml]\n`,
    );
    expect(readStack(file, { HOME: '/root' }).functions[0]?.environment).toEqual({
      A: 'one',
      B: 'two',
      C: '${HOME}',
      Z: 'zero',
    });
  });

  it('drops an unknown key as faas-cli does, and refuses it when it is strict', () => {
    const file = write('stack.yml', `${head}    image: a/b\n    environmnt: {A: one}\n`);
    expect(readStack(file, {}).functions).toHaveLength(1);
    expect(() => readStack(file, {}, { strict: true })).toThrow(/environmnt/);
  });

  it('names the file and the field that are wrong', () => {
    const file = write('stack.yml', 'provider: {name: openfaas}\nfunctions:\n  hello: {lang: a, handler: b}\n');
    expect(() => readStack(file, {})).toThrow(/stack\.yml: [\s\S]*functions\.hello\.image/);
  });

  it('looks for stack.yaml, then stack.yml, then the sample', () => {
    expect(() => findStackFile(folder)).toThrow(/stack.yaml, stack.yml, stack.sample.yml/);
    const names = ['stack.sample.yml', 'stack.yml', 'stack.yaml'];
    for (const name of names) {
      write(name, head);
      expect(findStackFile(folder)).toBe(join(folder, name));
    }
  });
});

describe('parseDurationMs', () => {
  it.each([
    ['30', 30_000],
    ['1m30s', 90_000],
    ['1.5s', 1_500],
    ['250ms', 250],
    ['0', 0],
    ['soon', 7],
    ['', 7],
  ])('reads %j as the watchdog does', (text, expected) => {
    expect(parseDurationMs(text, 7)).toBe(expected);
  });
});

describe('stack.sample.yml', () => {
  const file = join(root, 'stack.sample.yml');
  const { functions } = readStack(file, {}, { strict: true });
  const source = readFileSync(file, 'utf8');
  /** The lines of one function, with what is commented out. */
  const section = (name: string) =>
    source.split(/^(?= {2}[a-z][-a-z0-9]*:$)/m).find((part) => part.startsWith(`  ${name}:`));

  it('names every function of the repository and no other', () => {
    const folders = readdirSync(join(root, 'functions')).map((name) => join(root, 'functions', name));
    expect(functions.map(({ folder: handler }) => handler).sort()).toEqual(folders.sort());
  });

  it.each(functions)('gives $name every setting of its config.ts', async ({ name, folder: handler }) => {
    const { settings } = (await import(join(handler, 'config.ts'))) as { settings: SettingsSchema };
    const text = section(name) ?? '';
    const missing = Object.keys(settings.shape).filter((key) => {
      const isSecret = /^[a-z0-9-]+$/.test(key);
      return !(isSecret ? new RegExp(`^ +(# )?- ${key}$`, 'm') : new RegExp(`^ +(# )?${key}:`, 'm')).test(text);
    });
    expect(missing).toEqual([]);
  });

  it.each(functions)(
    'gives $name no setting that its config.ts does not read',
    async ({ folder: handler, environment, secrets }) => {
      const { settings } = (await import(join(handler, 'config.ts'))) as { settings: SettingsSchema };
      const given = [...Object.keys(environment).filter((key) => /^[A-Z]/.test(key)), ...secrets];
      const variables = new Set(Object.keys(settings.shape));
      expect(given.filter((key) => !variables.has(key))).toEqual([]);
    },
  );

  it.each(functions)('gives $name timeouts that fit into each other', ({ environment }) => {
    const [exec, read, write_] = ['exec_timeout', 'read_timeout', 'write_timeout'].map((key) =>
      parseDurationMs(environment[key], 0),
    );
    expect(exec).toBeGreaterThan(0);
    expect(read).toBeGreaterThan(exec!);
    expect(write_).toBeGreaterThan(exec!);
  });

  it.each(functions)('gives $name nothing that the Community Edition refuses', ({ labels, annotations, image }) => {
    expect(Object.keys(labels).filter((key) => /scale\.(zero|zero-duration|target|type)$/.test(key))).toEqual([]);
    expect(Number(labels['com.openfaas.scale.max'] ?? 1)).toBeLessThanOrEqual(5);
    expect(annotations.topic ?? '').not.toContain(',');
    expect(image).toContain('/');
  });

  it('shows the extras of OpenFaaS Pro in a comment that can be taken as it is', () => {
    const block = source.slice(source.indexOf('\n# labels:'));
    const { labels, annotations } = parse(block.replace(/^# ?/gm, ''), { schema: 'failsafe' }) as Record<
      string,
      object
    >;
    expect(Object.keys(labels!)).toContain('com.openfaas.scale.zero');
    expect(Object.keys(annotations!)).toContain('com.openfaas.ready.http.path');
    for (const value of Object.values(labels!)) expect(value).toMatch(/^[A-Za-z0-9._-]{1,63}$/);
  });
});
