import { afterEach, describe, expect, it } from 'vitest';
import { readAuthMembers, toAuthJson, toAuthQuery } from '../../functions/completion-proxy/vast/auth-data.ts';
import { rawMembers } from '../../functions/completion-proxy/vast/raw-json.ts';
import type { VastSandbox } from '../../sandbox/vast.ts';
import { until } from '../support/bundle-process.ts';
import { type Act, answerJson, hangUp, startScriptedBackend, streamEvents } from '../support/scripted-backend.ts';
import { startLoadedWorker, startWorker } from '../support/vast-worker.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const start = (act: Act, env?: Record<string, string>) => startLoadedWorker(closing, act, env);

const ticket = (sandbox: VastSandbox, cost = 242) =>
  readAuthMembers(rawMembers(sandbox.world.route(sandbox.world.endpoints[0]!, cost))!).auth;
const wrap = (auth: string, payload = '{"model": "m", "n": 1.0}') => `{"auth_data": ${auth}, "payload": ${payload}}`;
const post = (url: string, body: string, path = '/v1/chat/completions?a=b%20c') =>
  fetch(url + path, {
    method: 'POST',
    body,
    headers: { 'Content-Type': 'application/json', 'X-Custom': 'kept', Authorization: 'Bearer for-the-backend' },
  });
const fine = answerJson(200, { choices: [] }, { 'X-Backend': 'yes' });
const lastReport = (sandbox: VastSandbox) => sandbox.world.workers.get(7)!.reports.at(-1)!.status;

describe('a signed call', () => {
  it.each(['url', 'five-fields'] as const)(
    'of the form %s reaches the backend as its payload was written',
    async (form) => {
      const { calls, sandbox, worker } = await start(fine);
      sandbox.world.signatureForm = form;
      const answer = await post(worker.url, wrap(toAuthJson(ticket(sandbox))));
      expect([answer.status, answer.headers.get('x-backend'), await answer.json()]).toEqual([
        200,
        'yes',
        { choices: [] },
      ]);
      expect(answer.headers.get('x-serverless-signature-form')).toBe(form);
      const [call] = calls();
      expect(call).toMatchObject({
        method: 'POST',
        headers: { 'x-custom': 'kept', authorization: 'Bearer for-the-backend' },
      });
      expect(call!.body.toString()).toBe('{"model": "m", "n": 1.0}');
      expect(call!.url).toBe('/v1/chat/completions?a=b%20c');
      await until('it is deleted', () => sandbox.world.requests.get(1)!.deletions[0]);
      await until('the load is reported as nothing', () => (lastReport(sandbox).cur_load === 0 ? true : undefined));
      expect(sandbox.world.requests.get(1)).toMatchObject({
        isOpen: false,
        deletions: [{ workerId: 7, success: true }],
      });
    },
  );

  it('may carry its ticket in the query, with any body', async () => {
    const { calls, sandbox, worker } = await start(fine);
    const get = await fetch(`${worker.url}/v1/models?x=1&${toAuthQuery(ticket(sandbox))}&y=%2F`);
    expect(get.status).toBe(200);
    const upload = await fetch(`${worker.url}/upload?${toAuthQuery(ticket(sandbox))}`, {
      method: 'PUT',
      body: new Uint8Array([0, 255, 1]),
    });
    expect(upload.status).toBe(200);
    expect(calls().map(({ method, body }) => [method, body.toString('hex')])).toEqual([
      ['GET', ''],
      ['PUT', '00ff01'],
    ]);
    expect(calls()[0]!.url).toBe('/v1/models?x=1&y=%2F');
  });

  it('streams as the backend sends', async () => {
    const { sandbox, worker } = await start(streamEvents(['data: 1\n\n', 'data: [DONE]\n\n']));
    const answer = await post(worker.url, wrap(toAuthJson(ticket(sandbox))));
    expect([answer.headers.get('content-type'), await answer.text()]).toEqual([
      'text/event-stream',
      'data: 1\n\ndata: [DONE]\n\n',
    ]);
  });

  it('to "/" goes to the path that its ticket names', async () => {
    const { calls, worker } = await start(fine, { UNSECURED: 'true' });
    const auth = '{"cost": "1.0", "endpoint": "/generate", "reqnum": 1, "request_idx": 1, "signature": "", "url": ""}';
    expect((await post(worker.url, wrap(auth), '/')).status).toBe(200);
    expect(calls()[0]!.url).toBe('/generate');
  });

  it('gets the statuses of the backend, and 500 where it gives none', async () => {
    const { sandbox, worker } = await start(answerJson(503, { error: 'busy' }));
    const busy = await post(worker.url, wrap(toAuthJson(ticket(sandbox))));
    expect([busy.status, await busy.json()]).toEqual([503, { error: 'busy' }]);
    const dead = await start(hangUp);
    const answer = await post(dead.worker.url, wrap(toAuthJson(ticket(dead.sandbox))));
    expect([answer.status, await answer.text()]).toEqual([500, '']);
    await until('it is deleted as failed', () => dead.sandbox.world.requests.get(1)!.deletions[0]);
    expect(dead.sandbox.world.requests.get(1)!.deletions).toEqual([{ workerId: 7, success: false }]);
  });
});

describe('a refused call', () => {
  const unsigned = '{"cost": 1.0, "endpoint": "e", "reqnum": 1, "request_idx": 5, "signature": "AAAA", "url": "u"}';

  it.each<[string, number, string, RequestInit & { path?: string }]>([
    ['no JSON', 422, '{"error":"invalid JSON"}', { method: 'POST', body: 'nonsense' }],
    ['no body', 422, '{"error":"invalid JSON"}', { method: 'POST' }],
    ['a list', 422, '{"error":"the body must be a JSON object"}', { method: 'POST', body: '[]' }],
    ['nothing', 422, '{"auth_data":"field missing","payload":"field missing"}', { method: 'POST', body: '{}' }],
    [
      'parts',
      422,
      '{"auth_data":{"endpoint":"missing parameter","reqnum":"missing parameter","request_idx":"missing parameter",' +
        '"signature":"missing parameter","url":"missing parameter"},"payload":"field missing"}',
      { method: 'POST', body: '{"auth_data": {"cost": 1.0}}' },
    ],
    [
      'a cost that is no number',
      422,
      '{"auth_data":{"cost":"must be a number"}}',
      {
        method: 'POST',
        body: wrap(unsigned.replace('1.0', 'true')),
      },
    ],
    ['a wrong signature', 401, '', { method: 'POST', body: wrap(unsigned) }],
    [
      'a wrong signature in the query',
      401,
      '{"error":"invalid signature"}',
      {
        path: '/?serverless_cost=1&serverless_endpoint=e&serverless_reqnum=1&serverless_request_idx=5&serverless_signature=AA&serverless_url=u',
      },
    ],
    [
      'a bad number in the query',
      400,
      '{"error":"Invalid auth_data in query params: serverless_cost: must be a number"}',
      {
        path: '/?serverless_cost=x&serverless_endpoint=e&serverless_reqnum=1&serverless_request_idx=5&serverless_signature=AA&serverless_url=u',
      },
    ],
    [
      'a GET without a ticket',
      400,
      '{"error":"GET requests require auth_data in query params (serverless_cost, ' +
        'serverless_endpoint, serverless_reqnum, serverless_request_idx, serverless_signature, serverless_url)"}',
      {},
    ],
    ['OPTIONS', 405, '', { method: 'OPTIONS' }],
  ])('with %s is answered %i', async (_name, status, body, { path = '/v1/models', ...init }) => {
    const { calls, sandbox, worker } = await start(fine);
    const answer = await fetch(worker.url + path, init);
    expect([answer.status, await answer.text()]).toEqual([status, body]);
    expect(calls()).toEqual([]);
    // None of it reaches the autoscaler.
    sandbox.world.workers.get(7)!.reports.length = 0;
    expect((await post(worker.url, wrap(toAuthJson(forged)))).status).toBe(401);
    expect(sandbox.ledger.filter((entry) => entry.path === '/delete_requests/')).toEqual([]);
    const { num_requests_recieved, rej_load } = toldNumbers(sandbox);
    expect([num_requests_recieved, rej_load]).toEqual([0, 0]);
  });

  const forged = {
    cost: '1.0',
    endpoint: '"e"',
    reqnum: '1',
    request_idx: '9',
    signature: '"AAAA"',
    url: '"u"',
  };
  /** What all reports told together. */
  function toldNumbers(sandbox: VastSandbox) {
    const reports = sandbox.ledger
      .filter(({ path }) => path === '/worker_status/')
      .map(({ body }) => JSON.parse(body) as { num_requests_recieved: number; rej_load: number });
    return {
      num_requests_recieved: Math.max(...reports.map((one) => one.num_requests_recieved)),
      rej_load: Math.max(...reports.map((one) => one.rej_load)),
    };
  }

  it('of a blocked path is answered 403', async () => {
    const { calls, sandbox, worker } = await start(fine, { BLOCKED_PATHS: '/v1/*,/pull' });
    const answer = await post(worker.url, wrap(toAuthJson(ticket(sandbox))), '/v1/x');
    expect([answer.status, await answer.json()]).toEqual([
      403,
      { error: "Path '/v1/x' is blocked. This endpoint is not available in serverless mode." },
    ]);
    expect(calls()).toEqual([]);
  });

  it('is answered 401 for a second use of a ticket only where that is asked for', async () => {
    const lenient = await start(fine);
    const body = wrap(toAuthJson(ticket(lenient.sandbox)));
    const twice = async (url: string, text: string) => [(await post(url, text)).status, (await post(url, text)).status];
    expect(await twice(lenient.worker.url, body)).toEqual([200, 200]);
    const strict = await start(fine, { VAST_REPLAY_CHECK: 'true' });
    expect(await twice(strict.worker.url, wrap(toAuthJson(ticket(strict.sandbox))))).toEqual([200, 401]);
    await until('the first is deleted', () => strict.sandbox.world.requests.get(1)!.deletions[0]);
    expect(strict.sandbox.world.requests.get(1)!.deletions).toHaveLength(1);
  });
});

describe('the queue', () => {
  /** Answers when it is told to. */
  function createHeld() {
    const waiting: (() => void)[] = [];
    const act: Act = (res, call) => void waiting.push(() => fine(res, call));
    return { act, waiting };
  }

  it('refuses with 429 what would wait for longer than MAX_WAIT_TIME, and says so', async () => {
    const { act, waiting } = createHeld();
    const { sandbox, worker } = await start(act, { BENCHMARK: '50' });
    const first = post(worker.url, wrap(toAuthJson(ticket(sandbox, 600))));
    await until('the first is under way', () => waiting[0]);
    const second = await post(worker.url, wrap(toAuthJson(ticket(sandbox, 10))));
    expect([second.status, await second.text()]).toEqual([429, '']);
    waiting[0]!();
    expect((await first).status).toBe(200);
    await until(
      'both are told',
      () => (sandbox.world.requests.get(2)!.deletions[0] && sandbox.world.requests.get(1)!.deletions[0]) || undefined,
    );
    expect(sandbox.world.requests.get(2)!.deletions).toEqual([{ workerId: 7, success: false }]);
    expect(sandbox.world.requests.get(1)!.deletions).toEqual([{ workerId: 7, success: true }]);
  });

  it('keeps the order, one at a time, and forgets who left', async () => {
    const { act, waiting } = createHeld();
    const { calls, sandbox, worker } = await start(act, { ALLOW_PARALLEL: 'false' });
    const controllers = [1, 2, 3].map(() => new AbortController());
    const working = () => lastReport(sandbox).num_requests_working as number;
    const answers: Promise<number>[] = [];
    for (const [index, controller] of controllers.entries()) {
      answers.push(
        fetch(`${worker.url}/n${index}?${toAuthQuery(ticket(sandbox, 1))}`, { signal: controller.signal }).then(
          ({ status }) => status,
          () => 0,
        ),
      );
      await until('it is counted', () => (working() === index + 1 ? true : undefined));
    }
    expect(calls()).toHaveLength(1);
    controllers[1]!.abort();
    await until('it is gone', () => (working() === 2 ? true : undefined));
    waiting[0]!();
    await until('the third is under way', () => waiting[1]);
    waiting[1]!();
    expect(await Promise.all(answers)).toEqual([200, 0, 200]);
    expect(calls().map((call) => /\/n\d/.exec(call.url)?.[0])).toEqual(['/n0', '/n2']);
    await until('the load is nothing', () => (lastReport(sandbox).cur_load === 0 ? true : undefined));
    await until('all are deleted', () =>
      [1, 2, 3].every((idx) => sandbox.world.requests.get(idx)!.deletions.length === 1) ? true : undefined,
    );
  });
});

describe('local development', () => {
  it('needs none of Vast: plain calls of every method pass', async () => {
    const backend = await startScriptedBackend(fine);
    closing.push(() => backend.close());
    const worker = await startWorker({ BACKEND_URL: backend.url, UNSECURED: 'true', LOG_LEVEL: 'error' });
    closing.push(() => worker.close());
    const calls = () => backend.calls.filter((call) => call.url !== '/health');
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      const hasBody = ['POST', 'PUT', 'PATCH'].includes(method);
      const answer = await fetch(`${worker.url}/x?q=1`, { method, ...(hasBody ? { body: 'any thing' } : {}) });
      expect([method, answer.status]).toEqual([method, 200]);
    }
    expect(calls().map(({ method }) => method)).toEqual(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
    expect(calls()[2]!.body.toString()).toBe('any thing');
    const wrapped = await post(
      worker.url,
      wrap('{"cost": 1.0, "endpoint": "e", "reqnum": 0, "request_idx": 0, "signature": "", "url": ""}', '[1.0]'),
    );
    expect([wrapped.status, calls().at(-1)!.body.toString()]).toEqual([200, '[1.0]']);
    expect(await (await fetch(`${worker.url}/ping`)).text()).toBe('pong');
  });
});
