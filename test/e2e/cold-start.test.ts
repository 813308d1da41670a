import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { bundle } from '../../template/node24-ts/build.mjs';
import { warmUp } from '../../tools/build.ts';
import { runBundle, until } from '../support/bundle-process.ts';

const root = join(import.meta.dirname, '../..');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cold-start-'));
  chmodSync(folder, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What start.cjs says of parts that it had to compile. */
const compiledParts = (lines: string[]) => lines.filter((line) => line.includes('compiled at the start'));

describe.each(readdirSync(join(root, 'functions')))('the compiled code of %s', (name) => {
  it('is made at build time by a real start with the settings of its warm-up.json, and taken at the next start', async () => {
    const source = join(root, 'functions', name);
    const start = await warmUp(await build(join(source, 'index.ts')), source);
    // The settings are enough: a function that refuses to start is not warm.
    const { settings } = JSON.parse(readFileSync(join(source, 'warm-up.json'), 'utf8'));
    for (const [key, value] of Object.entries(settings)) {
      settings[key] = String(value).replace('{upstream}', 'http://127.0.0.1:9');
    }
    const server = await runBundle(start, { AUTH: 'none', ...settings });
    expect((await fetch(`http://127.0.0.1:${server.port}/_/ready`)).status).toBe(200);
    expect(compiledParts(server.lines)).toEqual([]);
    server.child.kill('SIGKILL');
  });

  it('holds the code of a whole answer: each call of its warm-up.json succeeds with the answers that stand in it', async () => {
    const source = join(root, 'functions', name);
    const statuses = await warmUpLog(await build(join(source, 'index.ts')), join(source, 'warm-up.json'));
    const { calls } = JSON.parse(readFileSync(join(source, 'warm-up.json'), 'utf8'));
    expect(statuses).toEqual(Object.keys(calls).map((call) => `${call} 200`));
  });
});

/** What the warm-up prints of its calls. */
async function warmUpLog(bundle: string, file: string): Promise<string[]> {
  await warmUp(bundle, folder);
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'warm-up.mjs'), folder, file]);
  return stdout.trim().split('\n');
}

async function build(entry: string) {
  const outfile = join(folder, 'index.cjs');
  await bundle({ entry, outfile });
  return outfile;
}

const fixture = join(root, 'test/fixtures/template-function');

async function answersFrom(start: string) {
  const server = await runBundle(start);
  const { status } = await fetch(`http://127.0.0.1:${server.port}/seen`);
  server.child.kill('SIGKILL');
  return { status, compiled: compiledParts(server.lines).length };
}

/** The cache's own first byte is behind the line that lists its parts; V8 has a head of some words in front of each. */
const damages: [what: string, damage: (cache: Buffer) => Buffer, compiled: number][] = [
  ['of another Node', (cache) => flip(cache, cache.indexOf('\n') + 1 + 4), 1],
  ['with a broken list', (cache) => flip(cache, 4), 1],
  ['that is cut', (cache) => cache.subarray(0, cache.length / 2), 1],
  ['that is empty', () => Buffer.alloc(0), 1],
];

function flip(cache: Buffer, at: number) {
  cache.writeUInt8(cache.readUInt8(at) ^ 0xff, at);
  return cache;
}

test.each(damages)('a cache %s is left aside, the log says so and the function starts', async (_, damage, compiled) => {
  const start = await warmUp(await build(join(fixture, 'index.ts')), fixture);
  expect(await answersFrom(start)).toEqual({ status: 200, compiled: 0 });
  writeFileSync(join(folder, 'index.cache'), damage(readFileSync(join(folder, 'index.cache'))));
  expect(await answersFrom(start)).toEqual({ status: 200, compiled });
});

test('without a cache the function starts, and nothing is said', async () => {
  const start = await warmUp(await build(join(fixture, 'index.ts')), fixture);
  rmSync(join(folder, 'index.cache'));
  expect(await answersFrom(start)).toEqual({ status: 200, compiled: 0 });
});

test('import() of a CommonJS package gives its names beside its default, and of a builtin as well', async () => {
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, 'old'), { recursive: true });
  writeFileSync(join(modules, 'old', 'index.js'), `module.exports = { name: 'old', call() { return this.name; } };`);
  writeFileSync(
    join(folder, 'index.ts'),
    `export default () => async () => {
      const old = await import('old');
      const { createHash } = await import('node:crypto');
      const body = [old.name, old.default.call(), createHash('sha1').update('').digest('hex').slice(0, 4)].join(' ');
      return { status: 200, body };
    };`,
  );
  const outfile = join(folder, 'index.cjs');
  await bundle({ entry: join(folder, 'index.ts'), outfile });
  for (const file of [outfile, await warmUp(outfile, folder)]) {
    const server = await runBundle(file);
    expect(await (await fetch(`http://127.0.0.1:${server.port}/`)).text()).toBe('old old da39');
    server.child.kill('SIGKILL');
  }
});

test('axios is loaded without the undici, the TLS and the HTTP/2 of Node, which it has no need of', async () => {
  const entry = join(folder, 'index.ts');
  writeFileSync(
    entry,
    `import { createServer } from 'node:http';
    export default () => async () => {
      const { default: axios } = await import('axios');
      const server = createServer((_, response) => response.end('pong')).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const form = new URLSearchParams({ a: '1' });
      const { data } = await axios.post('http://127.0.0.1:' + server.address().port, form);
      const body = JSON.stringify({ data, builtins: process.moduleLoadList });
      return { status: 200, body };
    };`,
  );
  const outfile = join(folder, 'index.cjs');
  await bundle({ entry, outfile, nodeModules: join(root, 'node_modules') });
  const server = await runBundle(outfile);
  const answer = await fetch(`http://127.0.0.1:${server.port}/`);
  server.child.kill('SIGKILL');
  const { data, builtins } = (await answer.json()) as { data: string; builtins: string[] };
  expect(data).toBe('pong');
  expect(builtins).toContain('NativeModule http');
  expect(builtins.filter((name) => /undici|http2|tls/.test(name))).toEqual([]);
});

test.skipIf(process.getuid?.() !== 0)('any uid reads the cache, from files that nobody may write', async () => {
  await warmUp(await build(join(fixture, 'index.ts')), fixture);
  for (const file of readdirSync(folder)) chmodSync(join(folder, file), 0o444);
  const child = spawn(process.execPath, [join(folder, 'start.cjs')], {
    env: { PORT: '0' },
    uid: 54321,
    gid: 54321,
    cwd: '/',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  await until('it listens', () => (log.includes('"msg":"listening"') ? true : undefined));
  child.kill('SIGKILL');
  expect(compiledParts(log.split('\n'))).toEqual([]);
});
