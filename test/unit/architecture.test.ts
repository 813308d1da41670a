import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Who may see whom. A room sees itself and what stands here; `package` names allowed only there stand below. */
const mayImport: Record<string, string[]> = {
  functions: ['http', 'auth', 'clients', 'config', 'store', 'base'],
  http: ['auth', 'base'],
  auth: ['base'],
  clients: ['base'],
  config: ['base'],
  store: ['base'],
  base: [],
  template: [],
};

function roomOf(path: string): string {
  const [top = '', second = '', third] = path.split('/');
  if (top === 'shared') return third === undefined ? 'base' : second;
  return top === 'functions' ? `functions/${second}` : top;
}

const importOf = /(?:from|import)\s*\(?\s*'([^']+)'/g;

/** One sentence for each import that points where it must not. */
function violations(path: string, source: string): string[] {
  const room = roomOf(path);
  const kind = room.startsWith('functions/') ? 'functions' : room;
  const allowed = mayImport[kind];
  if (allowed === undefined) return [];
  const found: string[] = [];
  for (const [, specifier = ''] of source.matchAll(importOf)) {
    if (specifier === 'axios' && path !== 'shared/clients/http.ts') found.push(`${path} imports axios`);
    const target = specifier.startsWith('#shared/')
      ? specifier.replace('#', '')
      : specifier.startsWith('.')
        ? normalize(join(dirname(path), specifier))
        : undefined;
    if (target === undefined) continue;
    const targetRoom = roomOf(target);
    if (targetRoom !== room && !allowed.includes(targetRoom)) found.push(`${path} imports ${target}`);
  }
  const readsEnvironment = /process\.env\b(?!\.?\w*ProcessEnv)/.test(source.replace(/NodeJS\.ProcessEnv/g, ''));
  if (readsEnvironment && kind !== 'config' && kind !== 'template') found.push(`${path} reads process.env`);
  return found;
}

const root = join(import.meta.dirname, '../..');

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('node_modules'));
}

describe('architecture', () => {
  it('lets every file import only what its room may see', () => {
    const files = ['shared', 'functions', 'template'].filter(existsSync).flatMap(sources);
    expect(files.length).toBeGreaterThan(15);
    expect(files.flatMap((path) => violations(path, readFileSync(join(root, path), 'utf8')))).toEqual([]);
  });

  it.each([
    ['functions/a/handler.ts', `import x from '../b/handler.ts'`],
    ['functions/a/handler.ts', `import x from '../../sandbox/lago.ts'`],
    ['functions/a/handler.ts', `const { default: axios } = await import('axios')`],
    ['shared/clients/lago.ts', `import { json } from '../http/respond.ts'`],
    ['shared/clients/lago.ts', `export { json } from '#shared/http/respond.ts'`],
    ['shared/money.ts', `import { x } from './store/store.ts'`],
    ['shared/http/body.ts', `import { x } from '../../functions/a/handler.ts'`],
    ['shared/auth/keys.ts', `const key = process.env.KEY`],
    ['template/node24-ts/server.ts', `import { x } from '../../shared/log.ts'`],
  ])('sees a planted violation in %s: %s', (path, source) => {
    expect(violations(path, source)).toHaveLength(1);
  });
});
