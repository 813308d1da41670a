import { execFile } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { findStackFile, readStack, type StackFunction } from './stack/stack.ts';

const root = resolve(import.meta.dirname, '..');

type Bundle = (files: { entry: string; outfile: string }) => Promise<unknown>;

export const bundleFile = (name: string) => join(root, '.cache', 'build', name, 'index.cjs');

/**
 * Makes the one file that a function's image runs, by the template's own build. Resolves with its path.
 * Throws when the function has no index.ts or does not compile.
 */
export async function buildFunction({ name, folder }: Pick<StackFunction, 'name' | 'folder'>): Promise<string> {
  const entry = join(folder, 'index.ts');
  if (!existsSync(entry)) throw new Error(`${entry} does not exist`);
  const template = pathToFileURL(join(root, 'template', 'node24-ts', 'build.mjs')).href;
  const { bundle } = (await import(template)) as { bundle: Bundle };
  const outfile = bundleFile(name);
  await bundle({ entry, outfile });
  return outfile;
}

/**
 * What the image adds to the bundle: `start.cjs` and `index.cache`, the code that ran when the function was started once
 * and called as `warm-up.json` of its folder says. Resolves with the path of start.cjs.
 */
export async function warmUp(bundle: string, functionFolder: string): Promise<string> {
  const template = join(root, 'template', 'node24-ts');
  const folder = dirname(bundle);
  for (const file of ['start.cjs', 'warm-up.mjs', 'parts.mjs']) copyFileSync(join(template, file), join(folder, file));
  const settings = join(functionFolder, 'warm-up.json');
  await promisify(execFile)(process.execPath, [join(folder, 'warm-up.mjs'), folder, settings]);
  return join(folder, 'start.cjs');
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { file: { type: 'string', short: 'f' } } });
  const { functions } = readStack(values.file ?? findStackFile(process.cwd()), process.env);
  const results = await Promise.allSettled(functions.map(buildFunction));
  for (const result of results) {
    if (result.status === 'fulfilled') console.log(result.value);
    else console.error((result.reason as Error).message);
  }
  process.exitCode = results.some(({ status }) => status === 'rejected') ? 1 : 0;
}
