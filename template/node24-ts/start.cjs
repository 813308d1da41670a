// Runs index.cjs beside it with the code that warm-up.mjs compiled at build time: half of a cold start is compiling.
// V8 takes the cache only from its own version and for this very text; otherwise it compiles, as `node index.cjs` does.
// Not node:module's compile cache, whose folder belongs to one uid: a container may run as any.
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const vm = require('node:vm');

/** index.cjs as a CommonJS module. esbuild writes plain ASCII, so latin1 is right, and quicker than UTF-8. */
function compile(folder) {
  const filename = join(folder, 'index.cjs');
  const cache = join(folder, 'index.cache');
  const source = readFileSync(filename, 'latin1');
  return new vm.Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename,
    cachedData: existsSync(cache) ? readFileSync(cache) : undefined,
  });
}

function run(script, folder) {
  script.runInThisContext()(module.exports, require, module, join(folder, 'index.cjs'), folder);
}

if (require.main === module) run(compile(__dirname), __dirname);
else module.exports = { compile, run };
