import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { builtinModules, createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { toParts } from './parts.mjs';

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
    build.onResolve({ filter }, ({ path, namespace, kind }) =>
      namespace === 'lazy' || kind === 'dynamic-import'
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
 * Two packages wait for a form and for a proxy with a tunnel.
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
    build.onResolve({ filter: /^(form-data|https-proxy-agent)$/ }, ({ path, importer, resolveDir }) =>
      /[\\/]axios[\\/]lib[\\/]/.test(importer) ? { path, namespace: 'lazy-class', pluginData: resolveDir } : undefined,
    );
    build.onLoad({ filter: /./, namespace: 'lazy-class' }, ({ path, pluginData }) => ({
      resolveDir: pluginData,
      contents: `
        let loaded;
        const load = () => (loaded ??= require('${path}'));
        export default new Proxy(function () {}, {
          construct: (_, given) => new (load())(...given),
          get: (_, name) => load()[name],
        });`,
    }));
  },
};

const container = {
  begin: 'const parts = {\n',
  before: (name) => `${JSON.stringify(name)}: `,
  after: ',\n',
  end: `};
const modules = new Map();
function load(name) {
  if (!Object.hasOwn(parts, name)) return require(name);
  let module = modules.get(name);
  if (module === undefined) {
    modules.set(name, (module = { exports: {} }));
    parts[name](module.exports, load, module, __filename, __dirname);
  }
  return module.exports;
}
load('./index.js');
`,
};

/** `await import()` of a CommonJS package has its names beside its default; esbuild gives the default alone. */
const withNames = `
const whole = module.exports.default;
const given = { default: { value: whole, enumerable: true }, __esModule: { value: true } };
module.exports = Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(whole), ...given });
`;

/**
 * One CommonJS file with the function, the server and every dependency, in parts: what is loaded by import() stands in a
 * part of its own, which start.cjs reads when it is asked for. `nodeModules` is a folder of packages for an entry that
 * stands outside of any. Throws esbuild's BuildFailure.
 */
export async function bundle({ entry, outfile, nodeModules }) {
  const entryPath = resolve(entry);
  const homes = [dirname(entryPath), ...(nodeModules ? [dirname(resolve(nodeModules))] : []), template];
  const esbuild = await loadEsbuild(homes);
  const main = await readFile(join(template, 'main.ts'), 'utf8');
  const form = { platform: 'node', target: 'node24', minify: true, logLevel: 'warning' };
  const { outputFiles, metafile } = await esbuild.build({
    ...form,
    stdin: {
      contents: main.replace("'./function/index.ts'", () => JSON.stringify(entryPath)),
      resolveDir: template,
      sourcefile: 'main.ts',
      loader: 'ts',
    },
    outdir: '/',
    entryNames: 'index',
    chunkNames: '[name]-[hash]',
    write: false,
    metafile: true,
    nodePaths: nodeModules ? [resolve(nodeModules)] : [],
    bundle: true,
    format: 'esm',
    splitting: true,
    // pg asks for it and does without; it is a native addon, which one file cannot hold.
    external: ['pg-native'],
    plugins: [lazyBuiltins, quickAxios],
  });
  const outputs = new Map(Object.entries(metafile.outputs).map(([path, output]) => [basename(path), output]));
  const parts = outputFiles.map(async ({ path, text }) => {
    const name = basename(path);
    // require() in place of import(): a script that V8 takes from its cache has none.
    const supported = { 'dynamic-import': false };
    const { code } = await esbuild.transform(text, { ...form, format: 'cjs', supported });
    const isCommonJs = metafile.inputs[outputs.get(name).entryPoint]?.format === 'cjs';
    const body = `${code}${isCommonJs ? withNames : ''}`;
    return [`./${name}`, `(function (exports, require, module, __filename, __dirname) {${body}})`];
  });
  await mkdir(dirname(resolve(outfile)), { recursive: true });
  await writeFile(outfile, toParts(await Promise.all(parts), container));
}

if (import.meta.main) {
  const [entry, outfile] = process.argv.slice(2);
  if (!entry || !outfile) {
    console.error('usage: node build.mjs <entry index.ts> <outfile>');
    process.exit(2);
  }
  await bundle({ entry, outfile }).catch(() => process.exit(1));
}
