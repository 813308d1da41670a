import { afterEach, describe, expect, it } from 'vitest';
import { readAuthMembers } from '../../functions/completion-proxy/vast/auth-data.ts';
import { rawMembers } from '../../functions/completion-proxy/vast/raw-json.ts';
import { matchingForm, parsePublicKey, signatureForms } from '../../functions/completion-proxy/vast/signature.ts';
import { toPythonFloat } from '../../sandbox/vast/python-float.ts';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';

let sandbox: VastSandbox;
afterEach(() => sandbox?.close());

const post = (path: string, body: object, key?: string) =>
  fetch(sandbox.url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) },
    body: JSON.stringify(body),
  });
const report = (id: number, more: object = {}) => {
  const base = { id, mtoken: sandbox.credentials['master-token'], url: `http://10.0.0.${id}:3000`, max_perf: 50 };
  return post('/worker_status/', { ...base, cur_load: 0, loadtime: 1.5, error_msg: '', ...more });
};
const route = async (body: object = {}) => {
  const answer = await post(
    '/route/',
    { endpoint: 'my-endpoint', cost: 242, ...body },
    sandbox.credentials['vast-api-key'],
  );
  return answer.text();
};
const remove = (worker_id: number, request_idxs: number[], success: boolean) =>
  post('/delete_requests/', { worker_id, mtoken: sandbox.credentials['master-token'], request_idxs, success });

describe("the sandbox's autoscaler", () => {
  it('says what it waits for until a worker has loaded, then signs, in each form, with the key that it shows', async () => {
    sandbox = await startVastSandbox();
    await report(1, { loadtime: 0, max_perf: 0 });
    expect(JSON.parse(await route())).toEqual({ endpoint: 'my-endpoint', status: 'workers: 1 known, 0 ready' });
    await report(1);
    const key = async () => parsePublicKey(await (await fetch(`${sandbox.url}/pubkey/`)).text());
    const old = await key();
    for (const form of signatureForms) {
      sandbox.world.signatureForm = form;
      const { auth, problems } = readAuthMembers(rawMembers(await route())!);
      expect(problems).toEqual({});
      expect([auth.cost, matchingForm(old, auth, signatureForms)]).toEqual(['242.0', form]);
    }
    sandbox.world.rotateKey();
    const { auth } = readAuthMembers(rawMembers(await route())!);
    expect([matchingForm(old, auth, signatureForms), matchingForm(await key(), auth, signatureForms)]).toEqual([
      undefined,
      'four-fields',
    ]);
  });

  it('gives calls to the worker with the least load, another one to who comes back, and keeps account', async () => {
    sandbox = await startVastSandbox();
    await report(1);
    await report(2);
    const first = JSON.parse(await route());
    const second = JSON.parse(await route());
    expect([first.url, second.url]).toEqual(['http://10.0.0.1:3000', 'http://10.0.0.2:3000']);
    const again = JSON.parse(await route({ request_idx: first.request_idx }));
    expect([again.url, again.request_idx]).toEqual(['http://10.0.0.2:3000', first.request_idx]);
    expect([sandbox.world.loadOf(1), sandbox.world.loadOf(2)]).toEqual([0, 484]);
    await remove(2, [first.request_idx, second.request_idx], true);
    expect([sandbox.world.loadOf(2), sandbox.world.oddDeletions]).toEqual([0, []]);
    await remove(2, [second.request_idx, 999], true);
    expect(sandbox.world.oddDeletions).toHaveLength(2);
    await report(2, { error_msg: 'broken' });
    await report(1, { error_msg: 'broken' });
    expect(JSON.parse(await route())).toHaveProperty('status');
  });

  it('refuses other keys and tells an account its endpoints', async () => {
    sandbox = await startVastSandbox();
    const list = (key: string) =>
      fetch(`${sandbox.url}/api/v0/endptjobs/?autoscaler_instance=prod`, {
        headers: { Authorization: `Bearer ${key}` },
      });
    expect((await list('wrong')).status).toBe(401);
    expect(await (await list(sandbox.credentials['vast-account-key'])).json()).toMatchObject({
      results: [{ endpoint_name: 'my-endpoint', api_key: 'endpoint-key-sandbox' }, {}],
    });
    expect((await post('/route/', { endpoint: 'my-endpoint', cost: 1 }, 'wrong')).status).toBe(401);
    expect((await post('/worker_status/', { id: 1, mtoken: 'wrong' })).status).toBe(401);
    expect((await post('/delete_requests/', { worker_id: 1, mtoken: 'wrong' })).status).toBe(401);
  });

  it('writes floats as Python does', () => {
    // What Python 3.11 printed.
    const printed: [number, string][] = [
      [0, '0.0'],
      [1, '1.0'],
      [242, '242.0'],
      [0.1, '0.1'],
      [1e-7, '1e-07'],
      [1e-5, '1e-05'],
      [0.0001, '0.0001'],
      [123456789.125, '123456789.125'],
      [1e15, '1000000000000000.0'],
      [1e16, '1e+16'],
      [1.5e22, '1.5e+22'],
      [-2.5, '-2.5'],
      [5e-324, '5e-324'],
      [1 / 3, '0.3333333333333333'],
    ];
    expect(printed.map(([value]) => toPythonFloat(value))).toEqual(printed.map(([, text]) => text));
  });
});
