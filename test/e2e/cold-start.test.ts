import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { bundle } from '../../template/node24-ts/build.mjs';
import { warmUp } from '../../tools/build.ts';
import { runBundle } from '../support/bundle-process.ts';

const root = join(import.meta.dirname, '../..');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cold-start-'));
  chmodSync(folder, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Whether V8 took the cache, as start.cjs asks for it. */
async function isCacheTaken() {
  const program = `console.log(require(${JSON.stringify(join(folder, 'start.cjs'))}).compile(${JSON.stringify(folder)}).cachedDataRejected)`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program]);
  return stdout.trim() === 'false';
}

describe.each(readdirSync(join(root, 'functions')))('the compiled code of %s', (name) => {
  it('is made at build time by a real start with the settings of its warm-up.json, and taken at the next start', async () => {
    const source = join(root, 'functions', name);
    const start = await warmUp(await build(join(source, 'index.ts')), source);
    expect(await isCacheTaken()).toBe(true);
    // The settings are enough: a function that refuses to start is not warm.
    const { settings } = JSON.parse(readFileSync(join(source, 'warm-up.json'), 'utf8'));
    for (const [key, value] of Object.entries(settings)) {
      settings[key] = String(value).replace('{upstream}', 'http://127.0.0.1:9');
    }
    const server = await runBundle(start, { AUTH: 'none', ...settings });
    expect((await fetch(`http://127.0.0.1:${server.port}/_/ready`)).status).toBe(200);
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
  return status;
}

test('a cache of another Node, or a broken one, is left aside and the function starts', async () => {
  const start = await warmUp(await build(join(fixture, 'index.ts')), fixture);
  const cache = readFileSync(join(folder, 'index.cache'));
  cache.writeUInt32LE((cache.readUInt32LE(4) ^ 0xffff) >>> 0, 4);
  writeFileSync(join(folder, 'index.cache'), cache);
  expect(await isCacheTaken()).toBe(false);
  expect(await answersFrom(start)).toBe(200);
});

test('without a cache the function starts', async () => {
  const start = await warmUp(await build(join(fixture, 'index.ts')), fixture);
  rmSync(join(folder, 'index.cache'));
  expect(await answersFrom(start)).toBe(200);
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
  const program = `console.log(process.getuid(), require(${JSON.stringify(join(folder, 'start.cjs'))}).compile(${JSON.stringify(folder)}).cachedDataRejected)`;
  const child = spawn(process.execPath, ['-e', program], {
    uid: 54321,
    gid: 54321,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  for await (const chunk of child.stdout) out += chunk;
  expect(out.trim()).toBe('54321 false');
});
