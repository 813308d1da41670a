import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const template = import.meta.dirname;

/** From the function's own node_modules (the image build), else from where this file stands (the checkout). */
async function loadEsbuild(/** @type {string[]} */ folders) {
  for (const folder of folders) {
    try {
      return await import(pathToFileURL(createRequire(join(folder, 'x.js')).resolve('esbuild')).href);
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error(`esbuild was not found from ${folders.join(' or ')}: run npm ci there`);
}

// Node takes 1 to 6 ms to load each of these; hardly a function needs one before its first call.
const slowBuiltins = ['crypto', 'https', 'tls', 'http2', 'sqlite', 'zlib', 'fs/promises', 'dns', 'worker_threads'];

/** In place of a slow builtin stands an object whose properties load it. */
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup(build) {
    const filter = new RegExp(`^(node:)?(${slowBuiltins.join('|')})$`);
    build.onResolve({ filter }, ({ path, namespace }) =>
      namespace === 'lazy'
        ? { path, external: true }
        : { path: `node:${path.replace('node:', '')}`, namespace: 'lazy' },
    );
    build.onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => {
      const names = JSON.stringify(Object.getOwnPropertyNames(createRequire(import.meta.url)(path)));
      const load = `get: () => (loaded ??= require('${path}'))[name]`;
      const define = `Object.defineProperty(exports, name, { enumerable: true, ${load} })`;
      return { contents: `let loaded; for (const name of ${names}) ${define};` };
    });
  },
};

/**
 * One CommonJS file with the function, the server and every dependency. `nodeModules` is a folder of packages for an
 * entry that stands outside of any. Throws esbuild's BuildFailure.
 */
export async function bundle({ entry, outfile, nodeModules }) {
  const entryPath = resolve(entry);
  const homes = [dirname(entryPath), ...(nodeModules ? [dirname(resolve(nodeModules))] : []), template];
  const esbuild = await loadEsbuild(homes);
  const main = await readFile(join(template, 'main.ts'), 'utf8');
  return esbuild.build({
    stdin: {
      contents: main.replace("'./function/index.ts'", () => JSON.stringify(entryPath)),
      resolveDir: template,
      sourcefile: 'main.ts',
      loader: 'ts',
    },
    outfile: resolve(outfile),
    nodePaths: nodeModules ? [resolve(nodeModules)] : [],
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    minify: false,
    // pg asks for it and does without; it is a native addon, which one file cannot hold.
    external: ['pg-native'],
    // require() in its place: a script that V8 takes from its cache has no import().
    supported: { 'dynamic-import': false },
    plugins: [lazyBuiltins],
    logLevel: 'warning',
  });
}

if (import.meta.main) {
  const [entry, outfile] = process.argv.slice(2);
  if (!entry || !outfile) {
    console.error('usage: node build.mjs <entry index.ts> <outfile>');
    process.exit(2);
  }
  await bundle({ entry, outfile }).catch(() => process.exit(1));
}
