import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { login } from '../../sandbox/lago/graphql.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { fetchApiKey } from '../../tools/lago/api-key.ts';

let sandbox: LagoSandbox;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lago-tool-'));
});
afterEach(async () => {
  await sandbox.close();
  rmSync(folder, { recursive: true });
});

async function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['tools/lago/main.ts', ...args], {
    env: { PATH: process.env.PATH, LAGO_API_BASE: sandbox.url, LAGO_API_KEY: 'lago-sandbox', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const [code] = await once(child, 'close');
  return { code, ...output };
}

const plan = `
version: 1
billable_metrics: [{ code: llm_cost, aggregation_type: sum_agg, field_name: cost }]
plans:
  - code: payg
    amount_currency: USD
    charges: [{ billable_metric: llm_cost, cost_pass_through: { markup: 1.2 } }]
`;

function writePlan(text = plan): string {
  const file = join(folder, 'plan.yml');
  writeFileSync(file, text);
  return file;
}

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('gives its API key to whoever can log in', async () => {
    sandbox = await startLagoSandbox({ profile });
    expect(await fetchApiKey({ baseUrl: `${sandbox.url}/api/v1`, ...login })).toBe('lago-sandbox');
    const queries = sandbox.ledger.map(
      ({ body }) => /loginUser|apiKeys|apiKey\(|organization \{ id apiKey/.exec(body)?.[0],
    );
    expect(queries).toEqual(
      profile === '1.12' ? ['loginUser', 'apiKeys', 'organization { id apiKey'] : ['loginUser', 'apiKeys', 'apiKey('],
    );
  });
});

test('says that the password is wrong, and shows none', async () => {
  sandbox = await startLagoSandbox();
  const failure = await fetchApiKey({ baseUrl: sandbox.url, ...login, password: 'secret-4711' }).catch(String);
  expect(failure).toMatch(/incorrect_login_or_password/);
  expect(failure).not.toContain('4711');
});

test('asks which key or organization where that is not clear', async () => {
  sandbox = await startLagoSandbox();
  const request = { baseUrl: sandbox.url, ...login };
  await expect(fetchApiKey({ ...request, keyName: 'other' })).rejects.toThrow('Say which key by --name: Default');
  await expect(fetchApiKey({ ...request, organizationId: 'other' })).rejects.toThrow(/Say which organization.*Sandbox/);
});

test('npm run lago -- api-key writes the key into a file that only its owner reads', async () => {
  sandbox = await startLagoSandbox();
  const out = join(folder, 'lago-api-key');
  const args = ['api-key', '--email', login.email, '--out', out];
  const done = await run(args, { LAGO_PASSWORD: login.password });
  expect(done).toMatchObject({ code: 0, stdout: '' });
  expect(readFileSync(out, 'utf8')).toBe('lago-sandbox\n');
  expect(statSync(out).mode & 0o777).toBe(0o600);
});

test('npm run lago -- provision shows the difference, and changes nothing without a yes', async () => {
  sandbox = await startLagoSandbox();
  const file = writePlan();
  const shown = await run(['provision', '-f', file]);
  expect(shown.stdout.split('\n').slice(1, 4)).toEqual([
    '+ billable_metric llm_cost',
    '+ plan payg',
    '+ charge payg/llm_cost',
  ]);
  expect(shown.code).toBe(0);
  expect(sandbox.catalog.plans).toEqual([]);

  const done = await run(['provision', '-f', file, '--yes']);
  expect(done.stdout).toContain('Done: 2 calls changed Lago.');
  expect(sandbox.catalog.plans).toHaveLength(1);
  const again = await run(['provision', '-f', file, '--yes']);
  expect(again.stdout).toContain('Nothing to do.');
});

test('npm run lago -- provision fails where Lago would have to make something anew, and shows what', async () => {
  sandbox = await startLagoSandbox();
  await run(['provision', '-f', writePlan(), '--yes']);
  const file = writePlan(plan.replace('amount_currency: USD', 'amount_currency: EUR'));
  const shown = await run(['provision', '-f', file, '--yes']);
  expect(shown.code).toBe(1);
  expect(shown.stdout).toContain('    amount_currency: "USD" -> "EUR"');
});

test('says how it is called', async () => {
  sandbox = await startLagoSandbox();
  expect(await run([])).toMatchObject({ code: 2, stderr: expect.stringMatching(/^usage:/) });
  expect(await run(['provision', '-f', 'x'], { LAGO_API_BASE: '' })).toMatchObject({ code: 2 });
  const missing = await run(['provision', '-f', join(folder, 'none.yml')]);
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('none.yml') });
});
