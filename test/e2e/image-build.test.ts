import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runBundle } from '../support/bundle-process.ts';

const run = promisify(execFile);
const root = new URL('../..', import.meta.url).pathname;
const copied = ['shared', 'package.json', 'package-lock.json', 'tsconfig.json'];
let context: string;

beforeEach(async () => {
  context = await mkdtemp(join(tmpdir(), 'image-build-'));
});

afterEach(() => rm(context, { recursive: true }));

/** As faas-cli makes ./build/<fn>: the template, over its sample the handler's folder, over that `configuration.copy`. */
async function makeContext(handler?: string) {
  await cp(join(root, 'template/node24-ts'), context, { recursive: true });
  if (handler !== undefined) {
    await cp(join(root, handler), join(context, 'function'), { recursive: true });
    for (const path of copied) await cp(join(root, path), join(context, 'function', path), { recursive: true });
  }
  await mkdir(join(context, 'function'), { recursive: true });
  // In place of the Dockerfile's `npm ci`: what the lock file names is installed here already.
  await symlink(join(root, 'node_modules'), join(context, 'function/node_modules'));
}

/** The Dockerfile's own steps after the install, in its order, with its WORKDIR being the context. Resolves with start.cjs. */
async function runBuildSteps() {
  const dockerfile = await readFile(join(context, 'Dockerfile'), 'utf8');
  const steps = [
    ...dockerfile.matchAll(/^RUN (function\/node_modules\/\.bin\/tsc .*|node (?:build|warm-up)\.mjs .*)$/gm),
  ];
  expect(steps).toHaveLength(3);
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };
  for (const [, command] of steps) {
    await run('sh', ['-ec', command!.replace(/\/home\/app\b/, context)], { cwd: context, env });
  }
  return join(context, 'start.cjs');
}

const buildOutput = () =>
  runBuildSteps().then(
    () => 'built',
    (error: { stdout: string }) => error.stdout,
  );

async function answers(bundle: string, path: string) {
  const server = await runBundle(bundle);
  try {
    return (await fetch(`http://127.0.0.1:${server.port}${path}`)).status;
  } finally {
    server.child.kill('SIGKILL');
  }
}

test('the sample builds on its own, as after faas-cli new, and answers', async () => {
  await makeContext();
  expect(await answers(await runBuildSteps(), '/')).toBe(200);
});

test('a function with shared code builds beside the copied files, and answers', async () => {
  await makeContext('test/fixtures/template-function');
  expect(await answers(await runBuildSteps(), '/seen')).toBe(200);
});

test('a type error in the function fails the build', async () => {
  await makeContext('test/fixtures/template-function');
  await writeFile(join(context, 'function/planted.ts'), "export const planted: number = 'text';\n");
  expect(await buildOutput()).toContain('function/planted.ts(1,14): error TS2322');
});

test('a type error in copied shared code fails the build', async () => {
  await makeContext('test/fixtures/template-function');
  await writeFile(join(context, 'function/shared/planted.ts'), "export const planted: number = 'text';\n");
  expect(await buildOutput()).toContain('function/shared/planted.ts(1,14): error TS2322');
});

test('a copied tsconfig.json that includes other folders does not turn the check off', async () => {
  await makeContext('test/fixtures/template-function');
  const own = JSON.parse((await readFile(join(root, 'tsconfig.json'), 'utf8')).replace(/^ *\/\/.*$/gm, ''));
  const narrow = JSON.stringify({ ...own, include: ['functions', 'tools'] });
  await writeFile(join(context, 'function/tsconfig.json'), narrow);
  await writeFile(join(context, 'function/planted.ts'), "export const planted: number = 'text';\n");
  expect(await buildOutput()).toContain('function/planted.ts(1,14): error TS2322');
});

test('an entry that does not export a function of the right shape fails the build', async () => {
  await makeContext('test/fixtures/template-function');
  await writeFile(join(context, 'function/index.ts'), 'export default async () => () => ({ status: 200 });\n');
  expect(await buildOutput()).toMatch(/main\.ts\(\d+,\d+\): error TS2345/);
});
