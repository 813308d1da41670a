// Runs index.cjs beside it with the code that warm-up.mjs compiled at build time, and reads of it only the parts that are
// asked for: half of a cold start is reading and compiling. V8 takes the cache only from its own version and for this very
// text; otherwise it compiles, as `node index.cjs` does.
// Not node:module's compile cache, whose folder belongs to one uid: a container may run as any.
const { openSync, readSync } = require('node:fs');
const { join } = require('node:path');
const vm = require('node:vm');

function read(file, position, length) {
  const bytes = Buffer.allocUnsafeSlow(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, position));
}

/** A file whose first line lists its parts: `// {"name": [start, length]}`, counted from the end of that line. */
function openParts(path) {
  const file = openSync(path);
  const head = read(file, 0, 64 * 1024);
  const end = head.indexOf('\n');
  const parts = new Map(Object.entries(JSON.parse(head.latin1Slice(3, end))));
  return {
    has: (name) => parts.has(name),
    read: (name) => read(file, end + 1 + parts.get(name)[0], parts.get(name)[1]),
  };
}

function warn(reason) {
  const line = {
    time: new Date().toISOString(),
    level: 'warn',
    msg: 'compiled at the start: index.cache is no use',
    reason,
  };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}

function openCache(path) {
  try {
    return openParts(path);
  } catch (error) {
    if (error.code !== 'ENOENT') warn(error.message);
    return undefined;
  }
}

/** `load(name)` is require() for a folder's index.cjs; `scripts` are its parts that were asked for. */
function open(folder) {
  const sources = openParts(join(folder, 'index.cjs'));
  const cache = openCache(join(folder, 'index.cache'));
  const scripts = new Map();
  const modules = new Map();

  function compile(name) {
    // esbuild writes plain ASCII, so latin1 is right, and quicker than UTF-8.
    const script = new vm.Script(sources.read(name).latin1Slice(), {
      filename: join(folder, 'index.cjs', name),
      cachedData: cache?.has(name) ? cache.read(name) : undefined,
    });
    if (script.cachedDataRejected) warn(`it is of another Node, another index.cjs or damaged: ${name}`);
    scripts.set(name, script);
    return script.runInThisContext();
  }

  function load(name) {
    if (!sources.has(name)) return require(name);
    let module = modules.get(name);
    if (module === undefined) {
      module = { exports: {} };
      modules.set(name, module);
      compile(name)(module.exports, load, module, join(folder, 'index.cjs'), folder);
    }
    return module.exports;
  }

  return { load, scripts };
}

if (require.main === module) open(__dirname).load('./index.js');
else module.exports = { open };
