import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { watchFolders } from '../../tools/gateway/watch.ts';
import { until } from '../support/gateway.ts';

it('sees a file that was saved in place after it was saved by renaming, and files of new folders', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'watch-'));
  const file = join(folder, 'handler.ts');
  writeFileSync(file, 'one');
  let changes = 0;
  const change = async () => {
    changes += 1;
  };
  const stop = watchFolders([folder, join(folder, 'missing')], change, 20);
  const seen = async (edit: () => void) => {
    const before = changes;
    edit();
    await until(() => changes > before);
  };
  try {
    await seen(() => {
      writeFileSync(`${file}.new`, 'two');
      renameSync(`${file}.new`, file);
    });
    await seen(() => writeFileSync(file, 'three'));
    await seen(() => mkdirSync(join(folder, 'domain')));
    await seen(() => writeFileSync(join(folder, 'domain', 'prices.ts'), 'four'));
    expect(changes).toBeGreaterThanOrEqual(4);
  } finally {
    stop();
    rmSync(folder, { recursive: true });
  }
});
