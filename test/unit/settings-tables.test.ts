import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'functions');
const names = existsSync(folder) ? readdirSync(folder) : [];

/** The names in the first column of the table headed "Setting". */
function documentedSettings(markdown: string): string[] {
  const [, table = ''] = /^\| Setting \|.*\n\|[-| :]+\n((?:\|.*\n?)+)/m.exec(markdown) ?? [];
  return [...table.matchAll(/^\|\s*`([^`]+)`/gm)].map(([, name = '']) => name);
}

describe.each(names)('the README of %s', (name) => {
  it('has a row for every setting of its schema, and for nothing else', async () => {
    const { settings } = (await import(join(folder, name, 'config.ts'))) as { settings: { shape: object } };
    const documented = documentedSettings(readFileSync(join(folder, name, 'README.md'), 'utf8'));
    expect(documented.toSorted()).toEqual(Object.keys(settings.shape).toSorted());
  });
});

it('reads the first column of a settings table', () => {
  expect(documentedSettings('x\n| Setting | Default |\n|---|---|\n| `A_B` | 1 |\n| `c-d` | |\n\n| `E` |\n')).toEqual([
    'A_B',
    'c-d',
  ]);
});
