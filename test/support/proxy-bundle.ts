import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../../template/node24-ts/build.mjs';
import { type BundleProcess, runBundle } from './bundle-process.ts';

const root = join(import.meta.dirname, '../..');

export interface ProxyBundle {
  file: string;
  /** Starts one as it is deployed, closed by the key `proxy-key` unless `env` says otherwise. */
  start(env: Record<string, string>): Promise<BundleProcess & { url: string }>;
  /** Stops what still runs and removes the bundle. */
  close(): Promise<void>;
}

/** The completion proxy as its image has it: built once, in a folder of its own. */
export async function buildProxy(): Promise<ProxyBundle> {
  const folder = mkdtempSync(join(tmpdir(), 'completion-proxy-'));
  const file = join(folder, 'index.cjs');
  await bundle({ entry: join(root, 'functions/completion-proxy/index.ts'), outfile: file });
  const running: BundleProcess[] = [];
  return {
    file,
    async start(env) {
      const proxy = await runBundle(file, { FUNCTION_API_KEY: 'test:proxy-key', ...env });
      if (proxy.port === 0) throw new Error(`The proxy did not start: ${proxy.lines.join('\n')}`);
      running.push(proxy);
      return { ...proxy, url: `http://127.0.0.1:${proxy.port}` };
    },
    async close() {
      for (const { child, exited } of running) {
        child.kill('SIGKILL');
        await exited;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
