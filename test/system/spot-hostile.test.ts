import { PGlite } from '@electric-sql/pglite';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { settings } from '../../functions/spot-start-service/config.ts';
import { createClient, createFunction } from '../../functions/spot-start-service/wiring.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { createRandom } from '../../sandbox/server.ts';
import { loadSettings } from '../../shared/config/settings.ts';
import { sleep } from '../../shared/retry.ts';
import { createPostgresEngine } from '../../shared/store/postgres.ts';
import { createStore, type Store } from '../../shared/store/store.ts';
import { until } from '../support/bundle-process.ts';
import { serveHandler } from '../support/serve.ts';

const ids = Array.from({ length: 10 }, (_, at) => 900 + at);
const nameOf = (id: number) => `service-${id}`;
const fileOf = (id: number) => `services:
  db:
    image: postgres:17
    restart: unless-stopped
    healthcheck: { test: pg_isready }
  app:
    image: app:1
    restart: unless-stopped
    depends_on: [db]
    labels:
      spot-start.host: ${nameOf(id)}.example.com
`;

let sandbox: PortainerSandbox;
let closing: (() => Promise<void>)[] = [];
/** How far the test's clock is ahead: what takes minutes by the clock alone is not waited for. */
let aheadMs = 0;
const now = () => Date.now() + aheadMs;
afterEach(async () => {
  for (const close of closing) await close();
  closing = [];
  aheadMs = 0;
});

async function open(profile: string) {
  sandbox = await startPortainerSandbox({ profile, startMs: 150, healthyAfterMs: 600, now });
  closing.push(() => sandbox.close());
  // While images are pulled there is nothing yet by which Portainer could refuse a second start.
  for (const id of ids)
    addStack(sandbox.world, {
      id,
      name: nameOf(id),
      endpointId: id % 2 === 0 ? 10 : 20,
      file: fileOf(id),
    }).pullMs = 200;
}

const database = new PGlite();
afterAll(() => database.close());

/** Another replica's connection to the one database. */
function openStore(): Store {
  const engine = createPostgresEngine(async () => ({
    query: (text, params) => database.query<Record<string, unknown>>(text, params),
    close: async () => undefined,
  }));
  return createStore(engine, { name: 'spot-start-service', now });
}

async function openFunction(store?: Store) {
  const config = loadSettings(settings, {
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    ...sandbox.credentials,
    PORTAINER_TIMEOUT_MS: '6000',
    START_TIMEOUT_MS: '6000',
    DEADLINE_MS: '12000',
    LOG_LEVEL: 'error',
  });
  const handler = createFunction(config, { portainer: createClient(config), store, time: { now, sleep } });
  const served = await serveHandler(handler);
  closing.unshift(() => served.close());
  return served.url;
}

interface Answer {
  id: number;
  status: number;
  code: string;
  message: string;
  healthyThen: boolean;
  runningThen: boolean;
}

const containersOf = (id: number) => sandbox.world.containers.filter(({ project }) => project === nameOf(id));
const isHalfMade = (id: number) => containersOf(id).some(({ state }) => state === 'created');
const isRunning = (id: number) =>
  containersOf(id).length === 2 && containersOf(id).every(({ state }) => state === 'running');
const isHealthy = (id: number) =>
  isRunning(id) &&
  containersOf(id).every(({ startedAt, healthcheck }) => healthcheck === undefined || now() - startedAt >= 600);

async function ask(url: string, id: number, at: number): Promise<Answer> {
  const body = at % 2 === 0 ? { service: nameOf(id) } : { referral_url: `https://${nameOf(id)}.example.com/x` };
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  const { code = '', message } = (await response.json()) as { code?: string; message: string };
  return { id, status: response.status, code, message, healthyThen: isHealthy(id), runningThen: isRunning(id) };
}

/** 200 calls within a second, twenty for each service, spread over the replicas. */
function storm(urls: string[]): Promise<Answer[]> {
  const random = createRandom(7);
  return Promise.all(
    Array.from({ length: 200 }, async (_, at) => {
      await new Promise((resolve) => setTimeout(resolve, random() * 1_000));
      return ask(urls[at % urls.length] as string, ids[Math.floor(at / 2) % ids.length] as number, at);
    }),
  );
}

/** What an answer says was so when it was given; what failed says so, with a code of ours. */
function check(answers: Answer[]) {
  for (const answer of answers) {
    if (answer.status === 200 && /already running and healthy/.test(answer.message))
      expect(answer).toMatchObject({ healthyThen: true });
    else if (answer.status === 200 && /successfully/.test(answer.message))
      expect(answer).toMatchObject({ runningThen: true });
    else if (answer.status === 200 || answer.status === 202) expect(answer.message).toMatch(/starting/);
    else
      expect(answer).toMatchObject({
        status: expect.toSatisfy((status) => [502, 503, 504].includes(status)),
        code: expect.stringMatching(/^[a-z_]{5,}$/),
      });
  }
}

/** The most logins within any second: more than ten would ban the address for an hour. */
function mostLogins(): number {
  const times = sandbox.ledger.filter(({ path }) => path === '/api/auth').map(({ at }) => Date.parse(at));
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 1_000).length));
}

function notTwice() {
  const { starts, lostStarts, stops, containerRestarts, updates } = sandbox.counts;
  const done = Object.fromEntries(ids.map((id) => [id, (starts[id] ?? 0) - (lostStarts[id] ?? 0)]));
  for (const id of ids) expect({ id, done: done[id] }).toEqual({ id, done: expect.toSatisfy((count) => count <= 1) });
  expect({ stops, containerRestarts, updates }).toEqual({ stops: {}, containerRestarts: {}, updates: {} });
}

async function allWake(url: string) {
  for (const id of ids) {
    await until(
      `${nameOf(id)} is healthy`,
      async () => {
        const answer = await ask(url, id, id);
        check([answer]);
        return /already running and healthy/.test(answer.message) ? true : undefined;
      },
      30_000,
    );
  }
}

describe.each(['old', 'new'])('200 calls for ten services, on the %s family', (profile) => {
  test('while Portainer is slow, drops connections, loses answers and restarts: none is started twice', async () => {
    await open(profile);
    sandbox.faults.push(
      { kind: 'slow', delayMs: 120, share: 0.5 },
      { kind: 'lost', method: 'POST', path: '/start$', share: 0.3 },
      { kind: 'reset', method: 'GET', share: 0.08 },
      { kind: 'status', status: 502, method: 'GET', share: 0.05 },
      { kind: 'cut', method: 'GET', afterBytes: 20, share: 0.03 },
    );
    const url = await openFunction();
    const answers = storm([url]);
    // In the middle of a start, which then ends half-way.
    await until('some stack is being started', () => ids.some(isHalfMade) || undefined);
    sandbox.restart(400);
    expect(Object.keys(sandbox.counts.lostStarts).length + ids.filter(isHalfMade).length).toBeGreaterThan(0);
    const first = await answers;
    check(first);
    expect(first).toHaveLength(200);
    notTwice();
    sandbox.faults.length = 0;
    // Containers that were only created may be a start in flight for two minutes; then they are known to be left over.
    aheadMs += 121_000;
    await allWake(url);
    notTwice();
    expect(mostLogins()).toBeLessThanOrEqual(5);
    expect(sandbox.counts.logins.given).toBeLessThanOrEqual(4);
    expect(ids.every(isHealthy)).toBe(true);
  });

  test('while the address is banned: a session that holds goes on', async () => {
    await open(profile);
    const url = await openFunction();
    await ask(url, 900, 0);
    sandbox.ban();
    const answers = await storm([url]);
    check(answers);
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    notTwice();
    expect(sandbox.counts.logins).toEqual({ given: 1, refused: 0, banned: 0 });
  });

  test('while it is banned and Portainer has restarted: one login is tried, and everybody is told', async () => {
    await open(profile);
    const url = await openFunction();
    await ask(url, 900, 0);
    sandbox.restart();
    sandbox.ban();
    const answers = await storm([url]);
    check(answers);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([502]));
    expect(answers[0]?.message).toMatch(/refuses logins from this address/);
    expect(sandbox.counts.logins).toEqual({ given: 1, refused: 0, banned: 1 });
  });

  test('with three replicas and a store: Portainer takes one start for each, and refuses none', async () => {
    await open(profile);
    const urls = await Promise.all([openStore(), openStore(), openStore()].map(openFunction));
    const answers = await storm(urls);
    check(answers);
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    await allWake(urls[0] as string);
    const once = Object.fromEntries(ids.map((id) => [id, 1]));
    expect(sandbox.counts).toMatchObject({ starts: once, composeUps: once, stops: {}, containerRestarts: {} });
    expect(sandbox.counts.refusedStarts).toEqual({});
  });

  test('with three replicas and no store: every one learns the truth, and what runs was started once', async () => {
    await open(profile);
    const urls = await Promise.all([openFunction(), openFunction(), openFunction()]);
    const answers = await storm(urls);
    check(answers);
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    await allWake(urls[0] as string);
    expect(sandbox.counts).toMatchObject({ stops: {}, containerRestarts: {}, containerRemovals: {} });
    expect(sandbox.world.containers.filter(({ project }) => project.startsWith('service-'))).toHaveLength(20);
  });
});
