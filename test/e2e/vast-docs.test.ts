import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/bundle-process.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';
import { freePort } from '../support/vast-worker.ts';

const root = join(import.meta.dirname, '../..');
let bundle: ProxyBundle;
beforeAll(async () => {
  bundle = await buildProxy();
});
afterAll(() => bundle?.close());

interface Ledger {
  requests: { isOpen: boolean; cost: number; deletions: { success: boolean }[] }[];
}

describe('"Try it here" in docs/vast.md', () => {
  it('is a whole way from a client to a model, with what the autoscaler saw of it', async () => {
    const markdown = readFileSync(join(root, 'docs/vast.md'), 'utf8');
    const [, block = ''] = /^## Try it here\n[\s\S]*?```sh\n([\s\S]*?)```/m.exec(markdown) ?? [];
    // On ports of our own, with the bundle of these tests, and without npm's line before the program's.
    let script = block.replace('npm run build\n', '').replace('.cache/build/completion-proxy/index.cjs', bundle.file);
    script = script.replace('npm run vast-client --', 'node tools/vast/client.ts');
    const ports: Record<string, number> = {};
    for (const port of ['8020', '8021', '3000', '8010']) {
      ports[port] = await freePort();
      script = script.replaceAll(new RegExp(`(?<![\\d.])${port}(?!\\d)`, 'g'), String(ports[port]));
    }
    const child = spawn('bash', ['-c', script.replace(/curl -s [^\n]*ledger\n$/, '')], {
      cwd: root,
      env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: process.env.HOME },
      stdio: ['ignore', 'pipe', 'ignore'],
      // Its own group, so that what it leaves in the background can be ended with it.
      detached: true,
    });
    try {
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      await until('the answer is there', () => (output.includes('"choices"') ? true : undefined), 30_000);
      expect(output).toContain('"completion_tokens":20');
      const settled = await until('the ledger agrees', async () => {
        const answer = await fetch(`http://127.0.0.1:${ports['8020']}/_sandbox/ledger`);
        const { state } = (await answer.json()) as { state: Ledger };
        return state.requests.some(({ isOpen }) => !isOpen) ? state : undefined;
      });
      expect(settled.requests).toMatchObject([{ cost: 20, isOpen: false, deletions: [{ success: true }] }]);
    } finally {
      process.kill(-child.pid!, 'SIGKILL');
      await once(child, 'close');
    }
  });
});
