import { type SandboxCall, sendJson } from '../server.ts';
import { composeDown, composeUp, Restarted } from './compose.ts';
import type { Counts } from './counts.ts';
import type { Family } from './families.ts';
import { deployServices, removeServices } from './swarm.ts';
import type { Stack, Times, World } from './world.ts';

const toJson = (world: World, family: Family, stack: Stack) => ({
  Id: stack.id,
  Name: stack.name,
  Type: stack.type,
  EndpointId: stack.endpointId,
  SwarmId: stack.type === 1 ? (world.endpoints.find(({ id }) => id === stack.endpointId)?.swarmId ?? '') : '',
  EntryPoint: 'docker-compose.yml',
  Env: stack.env,
  ResourceControl: null,
  Status: stack.status,
  ProjectPath: `/data/compose/${stack.id}`,
  CreationDate: Math.floor(stack.createdAt / 1000),
  CreatedBy: 'admin',
  UpdateDate: Math.floor(stack.updatedAt / 1000),
  UpdatedBy: '',
  AdditionalFiles: null,
  AutoUpdate: null,
  Option: null,
  GitConfig:
    stack.gitUrl === undefined
      ? null
      : { URL: stack.gitUrl, ReferenceName: 'refs/heads/main', ConfigFilePath: 'docker-compose.yml', ConfigHash: '' },
  FromAppTemplate: false,
  Namespace: '',
  ...(family.keepsErrors
    ? {
        DeploymentStartStatus: 0,
        DeploymentStatus: stack.deployments.map(({ status, atMs, message }) => ({
          Status: status,
          Time: Math.floor(atMs / 1000),
          Message: message,
        })),
      }
    : {}),
});

/** /api/stacks: list, one, file, start, stop, update, Git redeploy. */
export function createStacksApi(world: World, family: Family, times: Times, counts: Counts) {
  let queue: Promise<unknown> = Promise.resolve();
  const show = (stack: Stack) => toJson(world, family, stack);

  /** Runs one deployment, after those before it where the release has one lock for all. */
  function deploy(work: () => Promise<void>): Promise<void> {
    if (!family.queues) return work();
    const { epoch } = world;
    const turn = () => {
      if (world.epoch !== epoch) throw new Restarted();
      return work();
    };
    const run = queue.then(turn, turn);
    queue = run.catch(() => undefined);
    return run;
  }

  function list({ query, res }: SandboxCall) {
    let filters: { EndpointID?: number; SwarmID?: string };
    try {
      filters = JSON.parse(query.get('filters') ?? '{}');
    } catch {
      return sendJson(res, 400, { message: 'Invalid query parameter: filters', details: 'Invalid JSON' });
    }
    const { EndpointID, SwarmID } = filters;
    const shown = world.stacks.filter((stack) => {
      if (EndpointID === undefined && SwarmID === undefined) return true;
      if (stack.type === 2) return stack.endpointId === EndpointID;
      return stack.type === 1 && SwarmID !== undefined && show(stack).SwarmId === SwarmID;
    });
    // Go's nil slice.
    sendJson(res, 200, shown.length === 0 ? null : shown.map(show));
  }

  async function up(stack: Stack, endpointId: number): Promise<void> {
    if (stack.type === 1) {
      await times.sleep(times.startMs);
      if (stack.startError !== undefined) throw new Error(stack.startError);
      return deployServices(world, stack, endpointId);
    }
    counts.add('composeUps', stack.id);
    return composeUp(world, stack, endpointId, times);
  }

  async function down(stack: Stack, endpointId: number): Promise<void> {
    if (stack.type === 2) return composeDown(world, stack, endpointId, times);
    await times.sleep(times.startMs);
    removeServices(world, stack, endpointId);
  }

  function fail(stack: Stack, error: unknown): string {
    const { message } = error as Error;
    if (family.keepsErrors) {
      stack.status = 4;
      stack.deployments.push({ status: 4, atMs: world.now(), message });
    }
    return message;
  }

  async function change({ query, res, json }: SandboxCall, stack: Stack, action: string): Promise<void> {
    const refuse = (status: number, message: string, details = message) => sendJson(res, status, { message, details });
    const wanted = query.get('endpointId');
    if (wanted === null || !/^\d+$/.test(wanted)) {
      return refuse(400, 'Invalid query parameter: endpointId', 'Missing query parameter: endpointId');
    }
    if (stack.type === 3 && (action === 'start' || action === 'stop')) {
      const verb = action === 'start' ? 'Starting' : 'Stopping';
      return refuse(400, `${verb} a kubernetes stack is not supported`);
    }
    // Not compared with the stack's own endpoint, as in Portainer: start deploys to whichever one is named.
    const endpoint = world.endpoints.find(({ id }) => id === Number(wanted));
    if (endpoint === undefined) {
      return refuse(404, 'Unable to find an endpoint with the specified identifier inside the database');
    }
    if (endpoint.silent) return;
    if (endpoint.down || endpoint.edge?.asyncMode) {
      return action === 'start'
        ? refuse(500, 'Unable to check for name collision', 'Cannot connect to the Docker daemon')
        : refuse(500, `Unable to ${action} stack`, 'Cannot connect to the Docker daemon');
    }
    const refusals = {
      start: () => family.refuseStart(world, stack, endpoint.id),
      stop: () => family.refuseStop(stack),
      update: () => family.refuseUpdate(stack),
    };
    const refusal = refusals[action as 'start']();
    if (refusal !== undefined) {
      counts.add(action === 'start' ? 'refusedStarts' : 'refusedChanges', stack.id);
      return refuse(...refusal);
    }
    counts.add(action === 'start' ? 'starts' : action === 'stop' ? 'stops' : 'updates', stack.id);
    if (action === 'update') return update(stack, endpoint.id, json, res);
    try {
      await deploy(() => (action === 'start' ? up : down)(stack, endpoint.id));
    } catch (error) {
      if (error instanceof Restarted) return action === 'start' ? counts.add('lostStarts', stack.id) : undefined;
      return refuse(500, `Unable to ${action} stack`, fail(stack, error));
    }
    stack.status = action === 'start' ? 1 : 2;
    sendJson(res, 200, show(stack));
  }

  /** PUT: the way out of containers that block a start. An Env that is left out wipes the stack's. */
  async function update(stack: Stack, endpointId: number, json: unknown, res: SandboxCall['res']): Promise<void> {
    const body = (json ?? {}) as { StackFileContent?: string; Env?: Stack['env'] };
    stack.env = body.Env ?? [];
    if (body.StackFileContent !== undefined) {
      stack.file = body.StackFileContent;
      delete stack.gitUrl;
    }
    stack.updatedAt = world.now();
    const wasInError = stack.status === 4;
    const work = async () => {
      if (wasInError) await down(stack, endpointId);
      await up(stack, endpointId);
      stack.status = 1;
    };
    if (family.updatesAsync) {
      stack.status = 3;
      sendJson(res, 200, show(stack));
      await deploy(work).catch((error) => error instanceof Restarted || fail(stack, error));
      return;
    }
    try {
      await work();
    } catch (error) {
      if (error instanceof Restarted) return;
      await down(stack, endpointId);
      return sendJson(res, 500, { message: 'Unable to update stack', details: fail(stack, error) });
    }
    sendJson(res, 200, show(stack));
  }

  return async (call: SandboxCall, id: string | undefined, action: string | undefined): Promise<void> => {
    const { method, res, json } = call;
    if (id === undefined) return list(call);
    const stack = world.stacks.find((item) => item.id === Number(id));
    if (stack === undefined) {
      const message = 'Unable to find a stack with the specified identifier inside the database';
      return sendJson(res, 404, { message, details: 'Object not found inside the database' });
    }
    if (method === 'GET' && action === undefined) return sendJson(res, 200, show(stack));
    if (method === 'GET' && action === 'file') return sendJson(res, 200, { StackFileContent: stack.file });
    if (method === 'POST' && (action === 'start' || action === 'stop')) return change(call, stack, action);
    if (method === 'PUT' && action === undefined) {
      const { StackFileContent = '' } = (json ?? {}) as { StackFileContent?: string };
      if (StackFileContent !== '') return change(call, stack, 'update');
      return sendJson(res, 400, { message: 'Invalid request payload', details: 'Invalid stack file content' });
    }
    if (method === 'PUT' && action === 'git/redeploy') {
      if (stack.gitUrl !== undefined)
        return change({ ...call, json: { Env: stack.env, ...Object(json) } }, stack, 'update');
      return sendJson(res, 400, { message: 'Stack is not created from git', details: 'Stack is not created from git' });
    }
    res.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' });
    res.end('404 page not found\n');
  };
}
