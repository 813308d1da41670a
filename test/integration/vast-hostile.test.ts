import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { readAuthMembers, toAuthJson, toAuthQuery } from '../../functions/completion-proxy/vast/auth-data.ts';
import { rawMembers } from '../../functions/completion-proxy/vast/raw-json.ts';
import { type SignatureForm, signatureForms } from '../../functions/completion-proxy/vast/signature.ts';
import type { VastSandbox } from '../../sandbox/vast.ts';
import { until } from '../support/bundle-process.ts';
import { type Act, answerJson, streamEvents } from '../support/scripted-backend.ts';
import { startLoadedWorker } from '../support/vast-worker.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const start = (act: Act, env?: Record<string, string>) => startLoadedWorker(closing, act, env);

const ticket = (sandbox: VastSandbox, cost = 1) =>
  readAuthMembers(rawMembers(sandbox.world.route(sandbox.world.endpoints[0]!, cost))!).auth;
const wrap = (auth: string, payload = '{"model": "m"}') => `{"auth_data": ${auth}, "payload": ${payload}}`;
const post = (url: string, body: string, path = '/v1/x') =>
  fetch(url + path, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
const fine = answerJson(200, { choices: [] });
const lastReport = (sandbox: VastSandbox) => sandbox.world.workers.get(7)!.reports.at(-1)!.status;
const deletionsOf = (sandbox: VastSandbox, idx: number) => sandbox.world.requests.get(idx)!.deletions;
const told = async (sandbox: VastSandbox, idx: number) => {
  await until('it is told', () => deletionsOf(sandbox, idx)[0]);
  await until('the load is nothing', () => (lastReport(sandbox).cur_load === 0 ? true : undefined));
  return deletionsOf(sandbox, idx).map(({ success }) => success);
};

describe('a ticket with numbers that nobody can count with', () => {
  it.each([
    ['cost', '1e999', 'must be a number'],
    ['request_idx', '1e999', 'must be a whole number'],
    ['request_idx', '1.5', 'must be a whole number'],
    ['request_idx', '99007199254740993', 'must be a whole number'],
    ['reqnum', '1e999', 'must be a whole number'],
  ] as const)('as %s of %s is refused, and spoils no report', async (field, value, problem) => {
    const { sandbox, worker } = await start(fine);
    const forged = { ...ticket(sandbox), [field]: value };
    const inBody = await post(worker.url, wrap(toAuthJson(forged)));
    expect([inBody.status, await inBody.json()]).toEqual([422, { auth_data: { [field]: problem } }]);
    const inQuery = await fetch(`${worker.url}/x?${toAuthQuery(forged)}`);
    expect([inQuery.status, await inQuery.json()]).toEqual([
      400,
      { error: `Invalid auth_data in query params: serverless_${field}: ${problem}` },
    ]);
    await isServedAndTold(sandbox, worker.url);
  });

  it.each(['1e300', '-5', '0', '0.0000001'])('as a cost of %s does no harm', async (cost) => {
    const { sandbox, worker } = await start(fine);
    expect((await post(worker.url, wrap(toAuthJson({ ...ticket(sandbox), cost })))).status).toBe(200);
    await isServedAndTold(sandbox, worker.url);
  });

  /** The next call is served, and all that was reported are numbers. */
  async function isServedAndTold(sandbox: VastSandbox, url: string) {
    const next = ticket(sandbox);
    expect((await post(url, wrap(toAuthJson(next)))).status).toBe(200);
    expect(await told(sandbox, Number(next.request_idx))).toEqual([true]);
    for (const { status } of sandbox.world.workers.get(7)!.reports) {
      for (const name of ['cur_load', 'new_load', 'rej_load', 'cur_perf', 'num_requests_recieved']) {
        expect([name, status[name]]).toEqual([name, expect.any(Number)]);
        expect(status[name]).toBeGreaterThanOrEqual(0);
      }
    }
    expect(sandbox.world.oddDeletions).toEqual([]);
  }
});

describe('an answer without a body', () => {
  it.each([
    ['HEAD', 200],
    ['DELETE', 204],
    ['GET', 304],
  ])('of %s %i is a success', async (method, status) => {
    const { sandbox, worker } = await start((res) => void res.writeHead(status, { 'X-A': '1' }).end());
    const answer = await fetch(`${worker.url}/x?${toAuthQuery(ticket(sandbox))}`, { method });
    expect(answer.status).toBe(status);
    expect(await told(sandbox, 1)).toEqual([true]);
  });
});

describe('a query', () => {
  it('whose own parameters look like a ticket leaves the ticket of the body alone', async () => {
    const { calls, sandbox, worker } = await start(fine);
    const answer = await post(worker.url, wrap(toAuthJson(ticket(sandbox))), '/v1/x?note=serverless_cost&a=1');
    expect([answer.status, calls()[0]?.url]).toEqual([200, '/v1/x?note=serverless_cost&a=1']);
  });
  it('that spells a field of the ticket in another way keeps it from the backend as well', async () => {
    const { calls, sandbox, worker } = await start(fine);
    const query = toAuthQuery(ticket(sandbox)).replace('serverless_signature', 'serverless%5Fsignature');
    const answer = await fetch(`${worker.url}/x?a=%zz&${query}`);
    expect([answer.status, calls()[0]?.url]).toEqual([200, '/x?a=%zz']);
  });

  it('with a parameter twice', async () => {
    const { calls, sandbox, worker } = await start(fine);
    const query = toAuthQuery(ticket(sandbox));
    const answer = await fetch(`${worker.url}/x?${query}&serverless_cost=5&serverless_url=other&a=1&a=2`);
    expect([answer.status, calls()[0]?.url]).toEqual([200, '/x?a=1&a=2']);
  });
});

describe('a blocked path with a right ticket', () => {
  it('is told, so that its load is nobody’s', async () => {
    const { calls, sandbox, worker } = await start(fine, { BLOCKED_PATHS: '/v1/x' });
    expect((await post(worker.url, wrap(toAuthJson(ticket(sandbox))))).status).toBe(403);
    expect(calls()).toEqual([]);
    expect(await told(sandbox, 1)).toEqual([false]);
    expect(lastReport(sandbox).rej_load).toBe(0);
  });
});

describe('a lone surrogate', () => {
  it('in the payload of a GET is no failure', async () => {
    const { worker } = await start(fine, { UNSECURED: 'true' });
    const socket = connect(Number(new URL(worker.url).port), '127.0.0.1');
    const body = wrap(
      '{"cost":1,"endpoint":"e","reqnum":1,"request_idx":1,"signature":"","url":""}',
      '{"a":"\\ud800"}',
    );
    socket.write(`GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toContain('HTTP/1.1 200');
  });
});

describe('a backend that breaks off', () => {
  async function raw(act: (socket: Socket) => void) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        if (chunk.toString().startsWith('GET /health')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        else act(socket);
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  it.each<[string, (socket: Socket) => void]>([
    [
      'with a bad chunk at once',
      (s) => void s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n'),
    ],
    [
      'in the middle',
      (s) =>
        void s.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello', () => setTimeout(() => s.destroy(), 30)),
    ],
    ['in the head', (s) => void s.end('HTTP/1.1 200 OK\r\nContent-')],
    ['with nonsense', (s) => void s.end('nonsense\r\n\r\n')],
  ])('%s is an error, and the load comes back to nothing', async (_name, act) => {
    const url = await raw(act);
    const { sandbox, worker } = await start(fine, { BACKEND_URL: url, ALLOW_PARALLEL: 'false' });
    const body = await post(worker.url, wrap(toAuthJson(ticket(sandbox))))
      .then((answer) => answer.text())
      .catch(() => 'cut');
    expect(body === '' || body === 'cut').toBe(true);
    expect(await told(sandbox, 1)).toEqual([false]);
    // Its place is free again.
    await post(worker.url, wrap(toAuthJson(ticket(sandbox))))
      .then((answer) => answer.text())
      .catch(() => 'cut');
    expect(await told(sandbox, 2)).toEqual([false]);
  });
});

describe('a caller who leaves', () => {
  it('in the middle of a stream leaves no load behind, and the backend hears of it', async () => {
    const { calls, sandbox, worker } = await start(streamEvents(['data: 1\n\n'], () => {}));
    const gone = new AbortController();
    const answer = await fetch(`${worker.url}/x?${toAuthQuery(ticket(sandbox, 40))}`, { signal: gone.signal });
    await until('it is counted', () => (lastReport(sandbox).cur_load === 40 ? true : undefined));
    await answer.body!.getReader().read();
    gone.abort();
    expect(await told(sandbox, 1)).toEqual([true]);
    await until('the backend hears', () => calls()[0]!.aborted || undefined);
    expect(lastReport(sandbox)).toMatchObject({ num_requests_working: 0, working_request_idxs: [] });
  });
});

describe('MAX_CONCURRENCY', () => {
  it('lets as many in at a time, and the others in the order in which they came', async () => {
    const waiting: (() => void)[] = [];
    const { calls, sandbox, worker } = await start((res, call) => void waiting.push(() => fine(res, call)), {
      MAX_CONCURRENCY: '2',
    });
    const answers: Promise<number>[] = [];
    for (let index = 0; index < 6; index++) {
      answers.push(fetch(`${worker.url}/n${index}?${toAuthQuery(ticket(sandbox))}`).then(({ status }) => status));
      await until('it is counted', () => (lastReport(sandbox).num_requests_working === index + 1 ? true : undefined));
    }
    const begun = () => calls().map(({ url }) => Number(url.slice(2)));
    expect(begun().toSorted()).toEqual([0, 1]);
    for (let next = 2; next < 6; next++) {
      waiting[next - 2]!();
      await until('the next one begins', () => waiting[next - 1 + 1]);
      expect(begun()).toHaveLength(next + 1);
      expect(begun().at(-1)).toBe(next);
    }
    waiting[4]!();
    waiting[5]!();
    expect(await Promise.all(answers)).toEqual([200, 200, 200, 200, 200, 200]);
  });
});

describe('VAST_SIGNATURE_FORM', () => {
  it('says which forms are right, and no other is', async () => {
    const { sandbox, worker } = await start(fine, { VAST_SIGNATURE_FORM: 'four-fields, five-fields-compact' });
    const statusOf = async (form: SignatureForm) => {
      sandbox.world.signatureForm = form;
      return (await post(worker.url, wrap(toAuthJson(ticket(sandbox))))).status;
    };
    const statuses: Partial<Record<SignatureForm, number>> = {};
    for (const form of signatureForms) statuses[form] = await statusOf(form);
    expect(statuses).toEqual({ url: 401, 'five-fields': 401, 'five-fields-compact': 200, 'four-fields': 200 });
  });
});

describe('the replay check', () => {
  it('lets one of two at the same moment in, also while a new key is fetched', async () => {
    const { calls, sandbox, worker } = await start(fine, { VAST_REPLAY_CHECK: 'true' });
    sandbox.world.rotateKey();
    const body = wrap(toAuthJson(ticket(sandbox)));
    const statuses = await Promise.all([1, 2, 3].map(async () => (await post(worker.url, body)).status));
    expect(statuses.toSorted()).toEqual([200, 401, 401]);
    expect(calls()).toHaveLength(1);
  });
  it('is not led astray by numbers that the signature does not cover', async () => {
    const { sandbox, worker } = await start(fine, { VAST_REPLAY_CHECK: 'true' });
    const forged = { ...ticket(sandbox), reqnum: '9007199254740991' };
    expect((await post(worker.url, wrap(toAuthJson(forged)))).status).toBe(200);
    expect((await post(worker.url, wrap(toAuthJson(ticket(sandbox))))).status).toBe(200);
  });
});

describe('num_requests_recieved', () => {
  it('counts a ticket that comes again once', async () => {
    const { sandbox, worker } = await start(fine);
    const body = wrap(toAuthJson(ticket(sandbox)));
    await post(worker.url, body);
    await post(worker.url, body);
    await post(worker.url, wrap(toAuthJson(ticket(sandbox))));
    await told(sandbox, 2);
    await until('the sum is told', () => (lastReport(sandbox).num_requests_recieved === 2 ? true : undefined));
  });
});
