// Plain JavaScript with nothing installed: this is the first file that runs in a fresh clone, on any Node from 20 up.
// usage: node tools/setup.mjs <file.ts> [arguments]
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const modules = join(root, 'node_modules');
const stamp = join(modules, '.lock-digest');
const lock = join(root, '.cache', 'setup.lock');
const node = join(modules, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

function fail(message) {
  console.error(message);
  process.exit(1);
}

const lockDigest = () =>
  createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');

const isInstalled = () => existsSync(node) && existsSync(stamp) && readFileSync(stamp, 'utf8') === lockDigest();

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** `npm start` and `npm test` may be typed into two shells of one fresh clone: the second waits for the first. */
function takeLock() {
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return;
    } catch {
      const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
      if (owner > 0 && !isAlive(owner)) rmSync(lock, { force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
}

function install() {
  console.error('Installing packages (the first run, or package-lock.json has changed) ...');
  // npm tells its scripts where it is; without npm around us, the shell finds it.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--loglevel=error', '--no-fund', '--no-audit'];
  const options = { cwd: root, stdio: ['ignore', 2, 2] };
  const result = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
  if (result.status !== 0) fail('npm ci failed: see above. Fix that and run the command again.');
  if (!existsSync(node)) {
    fail(
      'The pinned Node is missing: its package brings it by an install script. Allow scripts (npm config set ignore-scripts false) and run the command again.',
    );
  }
  writeFileSync(stamp, lockDigest());
}

if (Number(process.versions.node.split('.')[0]) < 20) fail('This project starts on Node 20 or newer.');
if (!isInstalled()) {
  takeLock();
  try {
    if (!isInstalled()) install();
  } finally {
    rmSync(lock, { force: true });
  }
}

const [file, ...rest] = process.argv.slice(2);
if (file !== undefined) {
  const path = [join(modules, '.bin'), dirname(node), process.env.PATH].join(process.platform === 'win32' ? ';' : ':');
  const child = spawn(node, [file, ...rest], { cwd: root, stdio: 'inherit', env: { ...process.env, PATH: path } });
  // A terminal's Ctrl-C reaches the child as well; a program's signal reaches only us. We leave after the child.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}
