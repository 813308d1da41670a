import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Handler } from '#shared/http/function.ts';
import createFunction from '../../functions/llm-global-spend/index.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { until } from '../support/bundle-process.ts';
import { bodyOf, type CallOptions, makeCall } from '../support/call.ts';

interface Post {
  headers: Record<string, unknown>;
  body: string;
}

let litellm: LitellmSandbox;
let receiver: Server;
let posts: Post[];
let answerWith: number;
let tmp: string;
const open: Handler[] = [];
const previousTmp = process.env.TMPDIR;

beforeEach(async () => {
  // The store lies in the temporary folder where no database is set: one of its own for each test.
  tmp = mkdtempSync(join(tmpdir(), 'budgets-test-'));
  process.env.TMPDIR = tmp;
  litellm = await startLitellmSandbox({ seed: 3 });
  litellm.rows.length = 0;
  posts = [];
  answerWith = 200;
  receiver = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    posts.push({ headers: req.headers, body: Buffer.concat(chunks).toString() });
    res.writeHead(answerWith).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const handler of open.splice(0)) await handler.close?.();
  await litellm.close();
  await new Promise((resolve) => receiver.close(resolve).closeAllConnections());
  if (previousTmp === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = previousTmp;
  rmSync(tmp, { recursive: true });
});

const hook = () => `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hooks/T000/planted-token`;

function start(env: Record<string, string> = {}) {
  const handler = createFunction({
    LITELLM_API_BASE_URL: litellm.url,
    LITELLM_API_KEY: 'sk-sandbox',
    AUTH: 'none',
    ALLOW_SCHEDULED_TICK: 'true',
    SPEND_BUDGETS: '[{"name":"all <!channel>","scope":"proxy","period":"day","limit_usd":10,"forecast":false}]',
    SPEND_ALERT_WEBHOOK_URL: hook(),
    ...env,
  });
  open.push(handler);
  return async (options: CallOptions) => {
    const { event, context, lines } = makeCall(options);
    const response = await handler(event, context);
    return {
      status: response.status,
      body: bodyOf(response) as { budgets: unknown[]; alerts: unknown; code: string },
      lines,
    };
  };
}

const spend = (usd: number) =>
  litellm.addRow({
    request_id: `r-${litellm.rows.length}`,
    startTime: new Date(Date.now() - 1).toISOString(),
    spend: usd,
  });
const check = { method: 'POST', url: '/budgets' };
const tick = { method: 'POST', headers: { 'X-Connector': 'cron-connector', 'Content-Length': '0' } };

describe('a scheduled tick', () => {
  it('is accepted at once, and posts a signed alert', async () => {
    spend(8.5);
    const call = start({ SPEND_ALERT_SECRET: 'planted-secret' });
    expect(await call(tick)).toMatchObject({ status: 202, body: { accepted: true } });
    const { headers, body } = await until('an alert', () => posts[0]);
    const expected = createHmac('sha256', 'planted-secret').update(body).digest('hex');
    expect(headers['x-hub-signature-256']).toBe(`sha256=${expected}`);
    expect(headers['content-type']).toBe('application/json');
    expect(headers['idempotency-key']).toMatch(/^proxy%3A%2Fday%2F/);
    expect(JSON.parse(body)).toMatchObject({
      version: 1,
      event: 'spend.threshold',
      threshold: 80,
      thresholds: [50, 80],
      spend_usd: 8.5,
      limit_usd: 10,
      percent: 85,
    });
  });

  it('is refused with parameters or a credential of no use, as any other call without a key', async () => {
    const call = start({ AUTH: 'api-key', FUNCTION_API_KEY: 'me:key' });
    expect(await call({ ...tick, url: '/budgets' })).toMatchObject({ status: 401 });
    expect(await call({ ...tick, body: '{}' })).toMatchObject({ status: 401 });
    expect(posts).toEqual([]);
  });
});

describe('GET /budgets', () => {
  it('shows each budget, the worst first, and when it was told', async () => {
    spend(9);
    const other = '{"scope":"proxy","period":"month","limit_usd":1000,"forecast":false}';
    const call = start({ SPEND_BUDGETS: `[${other},{"name":"daily","scope":"proxy","period":"day","limit_usd":10}]` });
    const before = await call({ url: '/budgets' });
    expect(before.status).toBe(200);
    expect(before.body.budgets).toMatchObject([
      { name: 'daily', state: 'warning', spend_usd: 9, percent: 90, limit_usd: 10, complete: true },
      { name: 'everything per month', state: 'ok', spend_usd: 9, percent: 0.9, forecast_over: false },
    ]);
    expect(before.body.budgets[0]).toMatchObject({
      thresholds: [
        { percent: 50, reached: true, alerted_at: null },
        { percent: 80, reached: true, alerted_at: null },
        { percent: 100, reached: false, alerted_at: null },
      ],
    });
    expect(posts).toEqual([]);
    const after = await call(check);
    expect(after.body.alerts).toMatchObject({ webhook: true, checked: true, waiting: 0, durable: false });
    expect(after.body.budgets[0]).toMatchObject({
      thresholds: [
        { alerted_at: expect.stringMatching(/Z$/) },
        { alerted_at: expect.any(String) },
        { alerted_at: null },
      ],
    });
  });

  it('refuses parameters, which would be ignored', async () => {
    const { status, body } = await start()({ url: '/budgets?team=x' });
    expect([status, body.code]).toEqual([400, 'unknown_parameter']);
  });

  it('shows a budget that cannot be read as unknown, with the reason', async () => {
    litellm.faults.push({ kind: 'unauthorized' }, { kind: 'unauthorized' });
    const { status, body } = await start()({ url: '/budgets' });
    expect(status).toBe(200);
    expect(body.budgets[0]).toMatchObject({
      state: 'unknown',
      spend_usd: null,
      notes: [{ message: expect.stringContaining('check LITELLM_API_KEY') }],
    });
  });
});

describe('the webhook', () => {
  it('gets the alert at the next check when it failed, also after a restart, and then never again', async () => {
    spend(5);
    answerWith = 503;
    const failed = await start()(check);
    expect(failed.body.alerts).toMatchObject({ sent: 0, waiting: 1 });
    // The token in the path is a credential.
    expect(failed.lines.join('\n')).toContain('alert not delivered');
    expect(failed.lines.join('\n') + JSON.stringify(failed.body)).not.toMatch(/planted/);
    answerWith = 204;
    const call = start();
    expect((await call(check)).body.alerts).toMatchObject({ sent: 1, waiting: 0 });
    expect((await call(check)).body.alerts).toMatchObject({ sent: 0, waiting: 0 });
    expect(posts).toHaveLength(2);
    expect(posts[0]?.body).toBe(posts[1]?.body);
  });

  it('takes no redirect for an answer, since the alert would be nowhere', async () => {
    spend(5);
    answerWith = 302;
    expect((await start()(check)).body.alerts).toMatchObject({ sent: 0, waiting: 1 });
  });

  it('gets what Slack takes, where no name can call a channel', async () => {
    spend(5);
    await start({ SPEND_ALERT_FORMAT: 'slack' })(check);
    const body = JSON.parse(posts[0]!.body);
    expect(body.text).toMatch(/^Budget "all &lt;!channel&gt;" has reached 50 percent: /);
    expect(body.blocks[0]).toMatchObject({ type: 'section', text: { type: 'mrkdwn', text: body.text } });
    expect(posts[0]!.body).not.toContain('<!');
  });

  it('gets what Discord takes, where no name can call anyone', async () => {
    spend(5);
    await start({ SPEND_ALERT_FORMAT: 'discord' })(check);
    const body = JSON.parse(posts[0]!.body);
    expect(body.allowed_mentions).toEqual({ parse: [] });
    expect(body.embeds[0]).toMatchObject({
      title: 'all <!channel\\>',
      description: expect.stringContaining('has reached 50 percent'),
      fields: expect.arrayContaining([{ name: 'Limit', value: '$10.00 per day', inline: true }]),
    });
  });

  it('is not missed where none is set: budgets are shown and nobody is told', async () => {
    spend(5);
    const { body } = await start({ SPEND_ALERT_WEBHOOK_URL: '' })(check);
    expect(body.alerts).toMatchObject({ webhook: false, checked: false, waiting: 0 });
  });
});
