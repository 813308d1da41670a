import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { bundle } from '../../template/node24-ts/build.mjs';
import { examine } from '../../tools/doctor/examine.ts';
import { type Front, startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { type BundleProcess, runBundle, until } from '../support/bundle-process.ts';
import { call, type Seen, specOf, startTestGateway } from '../support/gateway.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/deploying.md'), 'utf8');
const snippet = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)![1]!;

let folder: string;
let server: BundleProcess;
let front: Front;
const nginxes: ChildProcess[] = [];

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Debian's nginx with one server, and in it this text. Resolves with its URL. */
async function startNginx(name: string, location: string): Promise<string> {
  const port = await freePort();
  const home = mkdtempSync(join(folder, `${name}-`));
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${home}/${kind};`,
  );
  const config = `daemon off; pid ${home}/pid; error_log stderr warn; worker_processes 1; events {}
    http { access_log off; ${paths.join(' ')} server { listen 127.0.0.1:${port}; ${location} } }`;
  writeFileSync(join(home, 'nginx.conf'), config);
  const nginx = spawn('nginx', ['-c', join(home, 'nginx.conf')], { stdio: ['ignore', 'inherit', 'inherit'] });
  nginx.on('error', () => undefined);
  nginxes.push(nginx);
  const url = `http://127.0.0.1:${port}`;
  await until('nginx listens (apt-get install nginx-light)', () => call(url).then(Boolean, () => undefined));
  return url;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'deploying-'));
  const outfile = join(folder, 'index.cjs');
  await bundle({ entry: join(import.meta.dirname, '../fixtures/doctor-function/index.ts'), outfile });
  server = await runBundle(outfile, { FUNCTION_API_KEY: 'ops:right' });
  front = await startFront({
    functions: () => [{ spec: specOf('sick', {}), port: () => server.port }],
    port: 0,
    journal: createJournal(() => undefined),
  });
});
afterAll(async () => {
  for (const nginx of nginxes) nginx.kill('SIGTERM');
  await front?.close();
  server?.child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

describe('the nginx snippet of docs/deploying.md', () => {
  const documented = (target: string) => snippet('nginx').replace('http://127.0.0.1:8080', target);

  it('lets a stream through in time, as npm run doctor sees it, and a plain proxy_pass does not', async () => {
    const streamOf = async (url: string) => {
      const findings = await examine({
        url: `${url}/function/sick`,
        key: 'right',
        schedule: undefined,
        wantedSeconds: 1,
      });
      return findings.find(({ check }) => check === 'stream')!.result;
    };
    expect(await streamOf(await startNginx('documented', documented(front.url)))).toBe('ok');
    const plain = `location /function/ { proxy_pass ${front.url}; }`;
    expect(await streamOf(await startNginx('plain', plain))).toBe('failed');
  });

  it('keeps everything but functions inside, and lets nobody outside pass for the scheduler', async () => {
    const gateway = await startTestGateway();
    const url = await startNginx('inside', documented(gateway.url));
    expect((await call(`${url}/system/functions`)).status).toBe(404);
    const headers = { 'X-Connector': 'cron-connector', 'X-Mine': 'kept' };
    const seen = JSON.parse((await call(`${url}/function/plain`, { headers })).body) as Seen;
    const names = seen.rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
    expect(names).toContain('x-mine');
    expect(names).not.toContain('x-connector');
    await gateway.close();
  });
});

describe('the Traefik snippet of docs/deploying.md', () => {
  it('is YAML whose router, middleware and service name each other; Traefik itself is not run here', () => {
    const { http } = parse(snippet('yaml'));
    const { functions } = http.routers;
    expect(http.services).toHaveProperty(functions.service);
    for (const name of functions.middlewares) expect(http.middlewares).toHaveProperty(name);
    expect(http.middlewares['functions-headers'].headers.customRequestHeaders).toEqual({ 'X-Connector': '' });
  });
});
