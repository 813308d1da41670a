// usage: node warm-up.mjs <folder with index.cjs> [environment.json]
// Starts the function once, calls it once, and writes index.cache with every function of it that was compiled by then.
// It runs on the Node that will run the image, under settings that lead nowhere (the function's warm-up.json).
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? '.');
const environment = process.argv[3];
const cache = join(folder, 'index.cache');

const freePort = () =>
  new Promise((resolvePort) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolvePort(port));
    });
  });

/** The status, or 0 when nobody answered. */
const call = (port, path) =>
  new Promise((resolveStatus) => {
    get({ host: '127.0.0.1', port, path, agent: false, timeout: 3_000 }, (response) => {
      response
        .resume()
        .on('end', () => resolveStatus(response.statusCode))
        .on('error', () => resolveStatus(0));
    })
      .on('timeout', function () {
        this.destroy();
      })
      .on('error', () => resolveStatus(0));
  });

rmSync(cache, { force: true });
const port = await freePort();
const settings = environment && existsSync(environment) ? JSON.parse(readFileSync(environment, 'utf8')) : {};
Object.assign(process.env, { AUTH: 'none', LOG_LEVEL: 'error' }, settings, { HOST: '127.0.0.1', PORT: String(port) });

const { compile, run } = createRequire(import.meta.url)('./start.cjs');
const script = compile(folder);
// A function that refuses to start without its settings ends the process: what it ran until then is worth keeping.
process.on('exit', () => {
  writeFileSync(cache, script.createCachedData());
  process.exitCode = 0;
});
run(script, folder);
const deadline = Date.now() + 5_000;
while ((await call(port, '/_/ready')) !== 200 && Date.now() < deadline) {}
await call(port, '/');
process.exit();
