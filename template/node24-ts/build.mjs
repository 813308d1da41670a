import { readFile } from 'node:fs/promises';
import { builtinModules, createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
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

// Loaded with node:http, which every function serves with; the others cost up to 6 ms each, and hardly a function needs
// one before its first call.
const loadedBuiltins = new Set(
  'async_hooks buffer diagnostics_channel events fs http module net path process querystring stream string_decoder timers url util vm'.split(
    ' ',
  ),
);
const slowBuiltins = builtinModules.filter(
  (name) => /^[a-z_0-9]+(\/promises)?$/.test(name) && !loadedBuiltins.has(name),
);

/** A function that is nothing but its call: no class, no constructor, no properties such as promisify's. */
const isPlainFunction = (name, value) =>
  typeof value === 'function' &&
  /^[a-z]/.test(name) &&
  Reflect.ownKeys(value).every((key) => ['length', 'name', 'prototype'].includes(key));

/** What stands for one name of a slow builtin: `load()` is the builtin itself. */
function toLazyProperty(builtin, name, value) {
  const key = JSON.stringify(name);
  // Numbers that are the same on every platform.
  if (name === 'constants' && ['http2', 'zlib'].includes(builtin)) return `value: ${JSON.stringify(value)}`;
  if (isPlainFunction(name, value)) return `value: (...given) => load()[${key}](...given)`;
  return `get: () => load()[${key}]`;
}

/** In place of a slow builtin stands an object whose properties load it when they are used. */
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup(build) {
    const filter = new RegExp(`^(node:)?(${[...slowBuiltins, 'sqlite'].join('|')})$`);
    build.onResolve({ filter }, ({ path, namespace }) =>
      namespace === 'lazy'
        ? { path, external: true }
        : { path: `node:${path.replace('node:', '')}`, namespace: 'lazy' },
    );
    build.onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => {
      const builtin = createRequire(import.meta.url)(path);
      const properties = Object.getOwnPropertyNames(builtin)
        .filter((name) => typeof builtin !== 'function' || !['length', 'name', 'prototype'].includes(name))
        .map((name) => {
          // Not builtin[name]: to read crypto.fips prints a warning.
          const { value } = Object.getOwnPropertyDescriptor(builtin, name);
          const property = toLazyProperty(path.replace('node:', ''), name, value);
          return `${JSON.stringify(name)}: { enumerable: true, ${property} }`;
        });
      const empty = typeof builtin === 'function' ? '(...given) => load()(...given)' : '{}';
      return {
        contents: `
          let loaded;
          const load = () => (loaded ??= require('${path}'));
          module.exports = Object.defineProperties(${empty}, { ${properties.join(', ')} });`,
      };
    });
  },
};

/**
 * While it loads, axios looks at FormData and fetch, for which Node loads its own undici with all of TLS and HTTP/2:
 * 30 ms. It knows a FormData by its tag as well, and nobody needs what the fetch adapter makes of no configuration.
 */
const quickAxios = {
  name: 'quick-axios',
  setup(build) {
    const edits = {
      'utils.js': ["typeof G.FormData !== 'undefined' ? G.FormData : undefined", 'undefined'],
      'fetch.js': ['const adapter = getFetch();', 'const adapter = undefined;'],
    };
    build.onLoad({ filter: /[\\/]axios[\\/]lib[\\/](utils|adapters[\\/]fetch)\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replace(...edits[basename(path)]),
    }));
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
    minify: true,
    // pg asks for it and does without; it is a native addon, which one file cannot hold.
    external: ['pg-native'],
    // require() in its place: a script that V8 takes from its cache has no import().
    supported: { 'dynamic-import': false },
    plugins: [lazyBuiltins, quickAxios],
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
