import type { ServerResponse } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * Sends `chunks` one write at a time with a pause between two, and stops as soon as the caller is gone, as a model server
 * that frees its GPU does. `onStop` learns how many went out.
 */
export async function sendChunks(
  res: ServerResponse,
  options: { contentType: string; delayMs: number; headers?: Record<string, string>; onStop?: (sent: number) => void },
  chunks: string[],
): Promise<void> {
  res.writeHead(200, { ...options.headers, 'Content-Type': options.contentType });
  let sent = 0;
  for (const chunk of chunks) {
    if (sent > 0 && options.delayMs > 0) await wait(options.delayMs);
    if (res.destroyed || res.socket?.destroyed) break;
    res.write(chunk);
    sent += 1;
  }
  options.onStop?.(sent);
  res.end();
}
