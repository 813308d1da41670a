import { existsSync, type FSWatcher, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';

function foldersBelow(folder: string): string[] {
  const below = readdirSync(folder, { withFileTypes: true, recursive: true });
  return [folder, ...below.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name))];
}

/**
 * Calls `change` once the files below some folders have been quiet for a moment; never twice at a time. Each folder is
 * watched by itself: Node's recursive watch loses a file on Linux once an editor has saved it by renaming.
 */
export function watchFolders(folders: string[], change: () => Promise<void>, quietMs = 150): () => void {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let running = false;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(run, quietMs);
  };
  function watchAll() {
    const wanted = new Set(folders.filter((folder) => existsSync(folder)).flatMap(foldersBelow));
    for (const [folder, watcher] of watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      watchers.delete(folder);
    }
    for (const folder of wanted) {
      if (!watchers.has(folder)) watchers.set(folder, watch(folder, later).on('error', later));
    }
  }
  async function run() {
    if (running) return later();
    running = true;
    watchAll();
    await change().finally(() => {
      running = false;
    });
  }
  watchAll();
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers.values()) watcher.close();
  };
}
