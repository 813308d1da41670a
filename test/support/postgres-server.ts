import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { until } from './bundle-process.ts';

function idOf(user: string, kind: '-u' | '-g'): number {
  return Number(spawnSync('id', [kind, user], { encoding: 'utf8' }).stdout);
}

/**
 * Debian's PostgreSQL on 127.0.0.1 with a database of its own, gone when it stops. Throws with the command that installs
 * it. PostgreSQL refuses to run as root, so root hands it to the user `postgres`.
 */
export async function startPostgres(): Promise<{ url: string; stop(): Promise<void> }> {
  const initdb = globSync('/usr/lib/postgresql/*/bin/initdb').toSorted().at(-1);
  if (initdb === undefined) throw new Error('PostgreSQL is missing: apt-get install postgresql');
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'));
  const isRoot = process.getuid?.() === 0;
  const identity = isRoot ? { uid: idOf('postgres', '-u'), gid: idOf('postgres', '-g') } : {};
  if (isRoot) chownSync(folder, identity.uid!, identity.gid!);
  const data = join(folder, 'data');
  const made = spawnSync(initdb, ['-D', data, '-U', 'test', '-A', 'trust', '--no-sync'], { ...identity, cwd: folder });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);

  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  const flags = [
    '-D',
    data,
    '-c',
    'max_connections=400',
    '-p',
    String(port),
    '-h',
    '127.0.0.1',
    '-k',
    folder,
    '-c',
    'fsync=off',
  ];
  const server: ChildProcess = spawn(join(dirname(initdb), 'postgres'), flags, {
    ...identity,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  server.stderr!.setEncoding('utf8').on('data', (text) => {
    log += text;
  });
  await until(
    `PostgreSQL is ready: ${log}`,
    () => (log.includes('ready to accept connections') ? true : undefined),
    30_000,
  );
  return {
    url: `postgres://test@127.0.0.1:${port}/postgres`,
    async stop() {
      const gone = new Promise((resolve) => server.once('exit', resolve));
      // Fast: connections end, data is written.
      server.kill('SIGINT');
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
