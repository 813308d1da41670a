import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../template/node24-ts/build.mjs';
import { examine, type Finding } from '../../tools/doctor/examine.ts';
import { sendTick } from '../../tools/gateway/cron.ts';
import { type Front, startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { type BundleProcess, runBundle } from '../support/bundle-process.ts';
import { specOf } from '../support/gateway.ts';

const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
const processes: BundleProcess[] = [];
const fronts: Front[] = [];

/** The fixture's function behind a gateway, with these settings of its own, its watchdog's and the gateway's. */
async function deploy(environment: Record<string, string>, upstreamTimeoutMs = 60_000) {
  const server = await runBundle(join(folder, 'index.cjs'), environment);
  processes.push(server);
  const front = await startFront({
    functions: () => [{ spec: specOf('sick', environment), port: () => server.port }],
    port: 0,
    journal: createJournal(() => undefined),
    upstreamTimeoutMs,
  });
  fronts.push(front);
  return { gateway: front.url, url: `${front.url}/function/sick`, port: server.port };
}

beforeAll(async () => {
  await bundle({
    entry: join(import.meta.dirname, '../fixtures/doctor-function/index.ts'),
    outfile: join(folder, 'index.cjs'),
  });
});
afterAll(async () => {
  for (const { child } of processes) child.kill('SIGKILL');
  await Promise.all(fronts.map((front) => front.close()));
  rmSync(folder, { recursive: true });
});

const keyed = { AUTH: 'api-key', FUNCTION_API_KEY: 'ops:right', ALLOW_SCHEDULED_TICK: 'true' };
const patient = { key: 'right', schedule: undefined, wantedSeconds: 1 };
const of = (findings: Finding[], check: Finding['check']) => findings.filter((finding) => finding.check === check);

describe('npm run doctor', () => {
  it('says of a function behind the gateway what is well, and what to change where it is not', async () => {
    const { url } = await deploy({ ...keyed, DURABLE: 'false' });
    const findings = await examine({ ...patient, url });
    expect(of(findings, 'reachable')).toEqual([{ check: 'reachable', result: 'ok', sentence: 'it answers' }]);
    expect(of(findings, 'auth')[0]).toMatchObject({ result: 'ok' });
    expect(of(findings, 'upstream')).toEqual([
      { check: 'upstream', result: 'ok', sentence: 'LiteLLM answers, version 1.101.2' },
      {
        check: 'upstream',
        result: 'failed',
        sentence: 'Lago network: check LAGO_API_BASE; settings: LAGO_API_BASE',
      },
    ]);
    expect(of(findings, 'state')[0]).toMatchObject({
      result: 'failed',
      sentence: expect.stringContaining('STORE_URL'),
    });
    expect(of(findings, 'stream')[0]).toMatchObject({
      result: 'ok',
      sentence: expect.stringContaining('in one piece without it'),
    });
    expect(of(findings, 'time-out')[0]).toMatchObject({ result: 'ok', sentence: 'an answer after 1 s arrives' });
  });

  it('needs a key to see more, and names a key that is refused', async () => {
    const { url } = await deploy({ ...keyed, DURABLE: 'true' });
    expect(of(await examine({ ...patient, url, key: undefined }), 'auth')[0]).toMatchObject({ result: 'unknown' });
    expect(of(await examine({ ...patient, url, key: 'wrong' }), 'auth')[0]).toMatchObject({
      result: 'failed',
      sentence: expect.stringContaining('function-api-key'),
    });
  });

  it('names a function that is open', async () => {
    const { url } = await deploy({ AUTH: 'none' });
    const findings = await examine({ ...patient, url });
    expect(of(findings, 'auth')[0]).toMatchObject({
      result: 'failed',
      sentence: expect.stringContaining('AUTH=api-key'),
    });
  });

  it.each([
    ['exec_timeout', { exec_timeout: '400ms' }, 60_000],
    ['upstream_timeout', {}, 400],
  ])('measures the time-out of the way and names %s', async (setting, environment, upstreamTimeoutMs) => {
    const { url } = await deploy({ ...keyed, ...environment }, upstreamTimeoutMs);
    const [finding] = of(await examine({ ...patient, url }), 'time-out');
    expect(finding).toMatchObject({ result: 'failed', sentence: expect.stringContaining(setting) });
    expect(finding!.sentence).toMatch(/^cut after 0\.[4-9] s with 50[24]: raise /);
  });

  it('sees a proxy before OpenFaaS that holds streams back', async () => {
    const { gateway } = await deploy(keyed);
    const holding = createServer(async (req, res) => {
      const answer = await fetch(gateway + req.url, { headers: req.headers as Record<string, string> });
      const body = await answer.text();
      res.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
    });
    await new Promise<void>((resolve) => holding.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(holding.address() as AddressInfo).port}/function/sick`;
    const findings = await examine({ ...patient, url });
    expect(of(findings, 'stream')[0]).toMatchObject({
      result: 'failed',
      sentence: expect.stringContaining('proxy_buffering off'),
    });
    holding.closeAllConnections();
    holding.close();
  });

  it('tells whether the scheduled ticks arrive', async () => {
    const { gateway, url } = await deploy(keyed);
    const schedule = '@every 1h';
    expect(of(await examine({ ...patient, url, schedule }), 'tick')[0]).toMatchObject({ result: 'unknown' });
    const tomorrow = new Date(Date.now() + 86_400_000);
    expect(of(await examine({ ...patient, url, schedule }, tomorrow), 'tick')[0]).toMatchObject({
      result: 'failed',
      sentence: expect.stringContaining('ALLOW_SCHEDULED_TICK=true'),
    });
    expect(of(await examine({ ...patient, url, schedule: 'often' }), 'tick')[0]).toMatchObject({ result: 'failed' });
    expect(await sendTick(gateway, 'sick')).toBe(200);
    expect(of(await examine({ ...patient, url, schedule }, tomorrow), 'tick')[0]).toMatchObject({ result: 'ok' });
  });

  it('knows a gateway that is not there from a function that is not deployed', async () => {
    const { gateway } = await deploy(keyed);
    const [missing] = await examine({ ...patient, url: `${gateway}/function/other` });
    expect(missing).toMatchObject({ result: 'failed', sentence: expect.stringContaining('faas-cli deploy') });
    const [gone] = await examine({ ...patient, url: 'http://127.0.0.1:9/function/sick' });
    expect(gone).toMatchObject({ result: 'failed', sentence: expect.stringContaining('ECONNREFUSED') });
  });
});
