import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './bundle-process.ts';

/** The fenced blocks of a page in docs/ by their info string: "nginx service". */
export function blocksOf(document: string): Map<string, string> {
  const text = readFileSync(join(import.meta.dirname, '../../docs', document), 'utf8');
  return new Map([...text.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].map(([, name = '', block = '']) => [name, block]));
}

/** Replaces what an operator would; every name must be there, so that a snippet that changed fails here. */
export function fillIn(block: string, changes: Record<string, string>): string {
  return Object.entries(changes).reduce((text, [name, value]) => {
    if (!text.includes(name)) throw new Error(`The snippet has no ${name}`);
    return text.replaceAll(name, value);
  }, block);
}

/** Takes the `# ` from the line with X-Api-Key, as the page says, and puts a key there. */
export const withKey = (block: string, key: string) =>
  block.replace(/# (.*X-Api-Key:?) <[^>]*>/, (_, head: string) => `${head} ${key}`);

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function run(program: string, args: string[], folder: string, port: number) {
  const child: ChildProcess = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const exited = once(child, 'exit');
  await until(`${program} listens`, async () => {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${said}`);
    return fetch(`http://127.0.0.1:${port}/`, { method: 'HEAD', redirect: 'manual' }).then(
      () => true,
      () => undefined,
    );
  });
  return {
    port,
    said: () => said,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** nginx with these `http` blocks and included files, alone in a folder of its own. */
export async function startNginx(port: number, http: string, files: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'));
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const root = process.getuid?.() === 0 ? 'user root;' : '';
  const main = `${root} daemon off; pid ${folder}/nginx.pid; error_log stderr warn; worker_processes 1; events {}
http { access_log off; ${paths.join(' ')}
${http}
}`;
  for (const [name, text] of Object.entries({ ...files, 'nginx.conf': main })) writeFileSync(join(folder, name), text);
  return run('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], folder, port);
}

/** Caddy with this Caddyfile and no administration port. */
export async function startCaddy(port: number, caddyfile: string) {
  const folder = mkdtempSync(join(tmpdir(), 'caddy-'));
  writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https off\n}\n${caddyfile}`);
  return run('caddy', ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile'], folder, port);
}
