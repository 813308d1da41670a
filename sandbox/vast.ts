import { runSandbox, type Sandbox, type SandboxCall, type SandboxFlags, sendJson, startSandbox } from './server.ts';
import { VastWorld, type WorkerStatus } from './vast/world.ts';

export interface VastSandbox extends Sandbox {
  world: VastWorld;
  credentials: { 'vast-api-key': string; 'vast-account-key': string; 'master-token': string };
}

const bearerOf = ({ headers }: SandboxCall) => /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];

function route(call: SandboxCall, world: VastWorld) {
  const body = (call.json ?? {}) as { endpoint?: string; api_key?: string; cost?: number; request_idx?: number };
  const endpoint = world.endpoints.find(({ apiKey }) => apiKey === (body.api_key ?? bearerOf(call)));
  if (endpoint === undefined) return sendJson(call.res, 401, { error: 'unauthorized', msg: 'invalid api key' });
  if (endpoint.name !== body.endpoint) return sendJson(call.res, 404, { error: 'no such endpoint' });
  if (typeof body.cost !== 'number') return sendJson(call.res, 400, { error: 'cost must be a number' });
  call.res.writeHead(200, { 'Content-Type': 'application/json' });
  call.res.end(world.route(endpoint, body.cost, body.request_idx));
}

function listEndpoints(call: SandboxCall, world: VastWorld) {
  if (bearerOf(call) !== world.accountKey) return sendJson(call.res, 401, { success: false, error: 'unauthorized' });
  const results = world.endpoints.map(({ id, name, apiKey }) => ({ id, endpoint_name: name, api_key: apiKey }));
  return sendJson(call.res, 200, { success: true, results });
}

function deleteRequests(call: SandboxCall, world: VastWorld) {
  const body = call.json as {
    worker_id: number;
    mtoken: string;
    request_idxs?: number[];
    success?: boolean;
    requests?: { request_idx: number; success: boolean }[];
  };
  if (body.mtoken !== world.masterToken) return sendJson(call.res, 401, { error: 'bad mtoken' });
  const listed = body.requests ?? body.request_idxs!.map((request_idx) => ({ request_idx, success: body.success! }));
  for (const { request_idx, success } of listed) world.delete(body.worker_id, request_idx, success);
  return sendJson(call.res, 200, { success: true });
}

/**
 * A simulated autoscaler of Vast.ai with its console: signs with a real key, gives calls to the workers that report, and
 * keeps what they reported and deleted.
 */
export async function startVastSandbox({ port = 0 }: SandboxFlags = {}): Promise<VastSandbox> {
  const world = new VastWorld();
  const sandbox = await startSandbox({
    name: 'vast',
    port,
    state: () => ({ workers: [...world.workers.values()], requests: [...world.requests.values()] }),
    handle(call) {
      const { method, path, res } = call;
      switch (`${method} ${path}`) {
        case 'POST /route/':
          return route(call, world);
        case 'GET /pubkey/':
          res.writeHead(200, { 'Content-Type': 'text/plain' });
          return void res.end(world.publicPem);
        case 'POST /worker_status/': {
          const status = call.json as WorkerStatus;
          if (status.mtoken !== world.masterToken) return sendJson(res, 401, { error: 'bad mtoken' });
          world.report(status);
          return sendJson(res, 200, { success: true });
        }
        case 'POST /delete_requests/':
          return deleteRequests(call, world);
        case 'GET /api/v0/endptjobs/':
          return listEndpoints(call, world);
        default:
          return sendJson(res, 404, { error: 'not found' });
      }
    },
  });
  const { accountKey, masterToken, endpoints } = world;
  return {
    ...sandbox,
    world,
    credentials: {
      'vast-api-key': endpoints[0]!.apiKey,
      'vast-account-key': accountKey,
      'master-token': masterToken,
    },
  };
}

if (import.meta.main) await runSandbox(startVastSandbox);
