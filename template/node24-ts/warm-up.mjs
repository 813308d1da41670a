// usage: node warm-up.mjs <folder with index.cjs> [warm-up.json]
// Starts the function once, makes the calls of its warm-up.json, and writes index.cache with every function that was
// compiled by then. It runs on the Node that will run the image. What the function calls in its turn is a server here,
// which gives the answers of warm-up.json.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { toParts } from './parts.mjs';

const folder = resolve(process.argv[2] ?? '.');
const file = process.argv[3];
const cache = join(folder, 'index.cache');

/** An upstream that knows some answers, by method and path. */
const listen = (answers) =>
  new Promise((resolveServer) => {
    const server = createServer((call, response) => {
      const answer = answers[`${call.method} ${call.url.split('?')[0]}`];
      call.resume().on('end', () => {
        response.writeHead(answer === undefined ? 404 : 200, { 'Content-Type': 'application/json' });
        response.end(JSON.stringify(answer ?? {}));
      });
    }).listen(0, '127.0.0.1', () => resolveServer(server));
  });

/** The status, or 0 when nobody answered. */
const call = (port, methodAndPath, body) =>
  new Promise((resolveStatus) => {
    const [method, path] = methodAndPath.split(' ');
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
    request({ host: '127.0.0.1', port, method, path, headers, agent: false, timeout: 3_000 }, (response) => {
      response
        .resume()
        .on('end', () => resolveStatus(response.statusCode))
        .on('error', () => resolveStatus(0));
    })
      .on('timeout', function () {
        this.destroy();
      })
      .on('error', () => resolveStatus(0))
      .end(body);
  });

// V8 drops compiled code that was not used for a while.
setFlagsFromString('--no-flush-bytecode');
rmSync(cache, { force: true });
const given = file && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
const { settings = {}, answers = {}, calls = { 'GET /': null } } = given;
const upstream = await listen(answers);
const probe = await listen({});
const { port } = probe.address();
await new Promise((closed) => probe.close(closed));
const upstreamUrl = `http://127.0.0.1:${upstream.address().port}`;
const temporary = mkdtempSync(join(tmpdir(), 'warm-up-'));
Object.assign(process.env, { AUTH: 'none', LOG_LEVEL: 'error', TMPDIR: temporary });
for (const [name, value] of Object.entries(settings)) process.env[name] = value.replace('{upstream}', upstreamUrl);
Object.assign(process.env, { HOST: '127.0.0.1', PORT: String(port) });

const { open } = createRequire(import.meta.url)('./start.cjs');
const { load, scripts } = open(folder);
// A function that refuses to start without its settings ends the process: what it ran until then is worth keeping.
process.on('exit', () => {
  // The cache is for a V8 with the flags of now.
  setFlagsFromString('--flush-bytecode');
  writeFileSync(cache, toParts([...scripts].map(([name, script]) => [name, script.createCachedData()])));
  rmSync(temporary, { recursive: true, force: true });
  process.exitCode = 0;
});
load('./index.js');
const deadline = Date.now() + 5_000;
while ((await call(port, 'GET /_/ready')) !== 200 && Date.now() < deadline) {}
for (const [methodAndPath, body] of Object.entries(calls)) {
  const status = await call(port, methodAndPath, body === null ? undefined : JSON.stringify(body));
  console.log(methodAndPath, status);
}
process.exit();
