import { existsSync, watch } from 'node:fs';

/** Calls `change` once the files below some folders have been quiet for a moment; never twice at a time. */
export function watchFolders(folders: string[], change: () => Promise<void>, quietMs = 150): () => void {
  let timer: NodeJS.Timeout | undefined;
  let running = false;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(run, quietMs);
  };
  async function run() {
    if (running) return later();
    running = true;
    await change().finally(() => {
      running = false;
    });
  }
  const watchers = folders
    .filter((folder) => existsSync(folder))
    .map((folder) => watch(folder, { recursive: true }, later));
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
