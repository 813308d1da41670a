import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import { answerJson, hangUp, startScriptedBackend } from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
const start = async (...acts: Parameters<typeof startScriptedBackend>) => {
  const backend = await startScriptedBackend(...acts);
  closing.push(() => backend.close());
  return backend;
};
const startProxy = async (env: Record<string, string>) => {
  const proxy = await serveHandler(createProxy(await readConfig({ RETRIES: '0', ...env })));
  closing.push(() => proxy.close());
  return proxy;
};

const root = join(import.meta.dirname, '../..');
const post = (url: string, key: string, body = '') =>
  fetch(url, { method: 'POST', body, headers: { 'X-Api-Key': key } });

describe('Honeybadger', () => {
  it('gets one notice of a call that failed, and nothing of key, header or prompt', async () => {
    const backend = await start(hangUp);
    const badger = await start(answerJson(201, { id: 'n-1' }));
    const proxy = await startProxy({
      FUNCTION_API_KEY: 'tests:planted-key',
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      HONEYBADGER_API_KEY: 'hbp_test',
      HONEYBADGER_ENDPOINT: badger.url,
    });
    const answer = await post(
      `${proxy.url}/v1/chat/completions`,
      'planted-key',
      '{"model":"m","prompt":"planted-prompt"}',
    );
    expect(answer.status).toBe(502);
    await expect.poll(() => badger.calls.length).toBe(1);
    const [call] = badger.calls;
    expect(`${call!.method} ${call!.url}`).toBe('POST /v1/notices');
    expect(call!.headers['x-api-key']).toBe('hbp_test');
    expect(JSON.parse(String(call!.body))).toMatchObject({
      error: { class: 'UpstreamError' },
      request: { url: '/v1/chat/completions', context: { status: 502, caller: 'tests' } },
    });
    expect(String(call!.body)).not.toContain('planted');
  });

  it('is proved by a route for admins, which says what went wrong', async () => {
    const badger = await start(answerJson(201, { id: 'n-2' }), answerJson(403, { error: 'no' }));
    const env = {
      FUNCTION_API_KEY: 'boss:k1\nalice:k2',
      CALLERS: '{"boss":{"admin":true}}',
      HONEYBADGER_ENDPOINT: badger.url,
    };
    const proxy = await startProxy({ ...env, HONEYBADGER_API_KEY: 'hbp_test' });
    const url = `${proxy.url}/_proxy/honeybadger`;
    expect((await fetch(url, { method: 'POST' })).status).toBe(401);
    expect((await post(url, 'k2')).status).toBe(403);
    expect((await fetch(url, { headers: { 'X-Api-Key': 'k1' } })).status).toBe(405);
    const proved = await post(url, 'k1');
    expect([proved.status, await proved.json()]).toEqual([200, { sent: true, id: 'n-2' }]);
    expect((await post(url, 'k1')).status).toBe(502);
    const without = await startProxy(env);
    expect((await post(`${without.url}/_proxy/honeybadger`, 'k1')).status).toBe(404);
  });

  it.each(["setTimeout(() => { throw new Error('boom'); })", "Promise.reject(new Error('boom'))"])(
    'gets what nobody caught before the process ends: %s',
    async (fault) => {
      const badger = await start(answerJson(201, { id: 'n-3' }));
      const program = `
        process.on('uncaughtException', () => process.exit(1));
        process.on('unhandledRejection', () => process.exit(1));
        const { openAlerts } = await import('./functions/completion-proxy/alerts/open.ts');
        openAlerts({ key: { name: 'k', read: () => 'hbp' }, endpoint: '${badger.url}', environment: 'test', redact: [] });
        ${fault}`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: root, stdio: 'ignore' });
      const [code] = await once(child, 'exit');
      expect(code).toBe(1);
      expect(badger.calls).toHaveLength(1);
      expect(JSON.parse(String(badger.calls[0]!.body)).error.message).toMatch(
        /^un(caught exception|handled rejection): boom$/,
      );
    },
  );
});
