import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/bundle-process.ts';

const root = join(import.meta.dirname, '../..');
let gateway: ChildProcess;
let base: string;
let output = '';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

const call = (path: string, init: RequestInit = {}) => fetch(`${base}/function/${path}`, init);
const post = (path: string, body: unknown) => call(path, { method: 'POST', body: JSON.stringify(body) });

/** `npm start` in a shell where nothing is configured. */
beforeAll(async () => {
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  gateway = spawn(process.execPath, ['tools/gateway/main.ts', '-f', 'stack.sample.yml'], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  gateway.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  gateway.stderr?.on('data', (chunk) => {
    output += chunk;
  });
  await until('the gateway is ready', () => output.includes('Ready.') || undefined, 60_000);
}, 90_000);

afterAll(async () => {
  const exit = once(gateway, 'exit');
  gateway.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

describe('npm start with nothing configured', () => {
  it('says that production is OpenFaaS, which services it simulates, and how to call each function', () => {
    expect(output.match(/Production is OpenFaaS/g)).toHaveLength(1);
    for (const name of ['LiteLLM', 'Portainer', 'Ollama', 'Lago']) expect(output).toContain(`${name}: sandbox at`);
    for (const name of ['llm-global-spend', 'spot-start-service', 'completion-proxy', 'lago-usage-push']) {
      expect(output).toMatch(new RegExp(`^${name} +curl .*${base}/function/${name}`, 'm'));
    }
  });

  it('answers the three totals and nothing else', async () => {
    const response = await call('llm-global-spend');
    expect(response.headers.get('x-call-id')).toMatch(/^[\w-]{36}$/);
    const totals = (await response.json()) as Record<string, number>;
    expect(Object.keys(totals)).toEqual(['global_spend', 'current_month_spend', 'today_spend']);
    expect(totals.global_spend).toBeGreaterThan(totals.current_month_spend!);
  });

  it.each([
    [{ service: 'nextcloud' }, 'Service nextcloud successfully started', 'start', '80'],
    [{ service: 'mediaservice' }, 'Service mediaservice successfully restarted', 'restart', '120'],
    [{ service: 'n8n' }, 'Service n8n is already running and healthy', 'none', '150'],
    [{ referral_url: 'https://example.server.local' }, 'Service example-stack successfully started', 'start', '200'],
  ])('answers %j with its predecessor’s message', async (body, message, action, stackId) => {
    expect(await (await post('spot-start-service', body)).json()).toMatchObject({
      success: true,
      message,
      action,
      details: { endpoint: 'prod-vm-1', stack_id: stackId },
    });
  });

  it('refuses an unknown service, a bad body and a wrong method', async () => {
    expect((await post('spot-start-service', { service: 'nope' })).status).toBe(404);
    expect((await call('spot-start-service', { method: 'POST', body: '{' })).status).toBe(400);
    expect((await call('spot-start-service')).status).toBe(405);
    expect((await call('llm-global-spend', { method: 'PUT' })).status).toBe(405);
  });

  it('completes a prompt, keeps the request id, and shows the call in the history', async () => {
    const response = await call('completion-proxy/completion', {
      method: 'POST',
      headers: { 'X-Request-ID': 'e2e-1' },
      body: JSON.stringify({ prompt: 'Hello World' }),
    });
    expect(response.headers.get('x-request-id')).toBe('e2e-1');
    expect(response.headers.get('x-completion-source')).not.toBe('fallback');
    expect(((await response.json()) as { completion: string }).completion.length).toBeGreaterThan(10);
    expect(await (await call('completion-proxy/history')).text()).toContain('"request_id":"e2e-1"');
  });

  it('passes a stream on as it comes to a caller who accepts an event stream', async () => {
    const response = await call('completion-proxy/v1/chat/completions', {
      method: 'POST',
      headers: { Accept: 'text/event-stream' },
      body: JSON.stringify({ model: 'llama2', stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
    });
    const arrivals: number[] = [];
    let text = '';
    for await (const chunk of response.body!) {
      arrivals.push(performance.now());
      text += Buffer.from(chunk).toString();
    }
    expect(text.trimEnd()).toMatch(/data: \[DONE\]$/);
    // The simulated model takes 30 ms a token: one burst at the end would be one or two arrivals at the same time.
    expect(arrivals.length).toBeGreaterThan(3);
    expect(arrivals.at(-1)! - arrivals[0]!).toBeGreaterThan(60);
  });

  it('pushes usage once: the second run sends nothing', async () => {
    const push = async () => (await (await post('lago-usage-push', {})).json()) as { dry_run: boolean; sent: number };
    const first = await push();
    expect(first.dry_run).toBe(false);
    expect(first.sent).toBeGreaterThan(0);
    expect(await push()).toMatchObject({ sent: 0 });
  });

  it('says so, as OpenFaaS does, when there is no such function', async () => {
    const response = await call('nobody');
    expect(response.status).toBe(404);
    expect(response.headers.get('x-openfaas-internal')).toBe('proxy');
  });
});
