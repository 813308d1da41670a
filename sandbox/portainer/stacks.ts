import { type SandboxCall, sendJson } from '../server.ts';
import { composeDown, composeUp } from './compose.ts';
import { containersOf, projectOf, type Stack, type World } from './world.ts';

/** What differs between releases. `old` is 2.39 and before; a profile for later ones stands beside it. */
export interface Family {
  version: string;
  /** The refusal of a start, checks in the release's own order; undefined when it may go on. */
  refuseStart(
    world: World,
    stack: Stack,
    endpointId: number,
  ): [status: number, message: string, details: string] | undefined;
  refuseStop(stack: Stack): [status: number, message: string, details: string] | undefined;
}

export const families: Record<string, Family> = {
  old: {
    version: '2.39.6',
    refuseStart(world, stack, endpointId) {
      // Before the check of the status: an active stack that still has containers answers 409, not 400.
      const collides =
        containersOf(world, endpointId, projectOf(stack)).length > 0 ||
        world.stacks.some(
          (other) => other !== stack && other.endpointId === endpointId && projectOf(other) === projectOf(stack),
        );
      if (collides) {
        const message = `A stack with the name '${stack.name}' is already running`;
        return [409, message, message];
      }
      return stack.status === 1 ? [400, 'Stack is already active', 'Stack is already active'] : undefined;
    },
    refuseStop: (stack) =>
      stack.status === 2 ? [400, 'Stack is already inactive', 'Stack is already inactive'] : undefined,
  },
};

const toJson = (stack: Stack) => ({
  Id: stack.id,
  Name: stack.name,
  Type: stack.type,
  EndpointId: stack.endpointId,
  SwarmId: '',
  EntryPoint: 'docker-compose.yml',
  Env: stack.env,
  ResourceControl: null,
  Status: stack.status,
  ProjectPath: `/data/compose/${stack.id}`,
  CreationDate: Math.floor(stack.createdAt / 1000),
  CreatedBy: 'admin',
  UpdateDate: 0,
  UpdatedBy: '',
  AdditionalFiles: null,
  AutoUpdate: null,
  Option: null,
  GitConfig: null,
  FromAppTemplate: false,
  Namespace: '',
});

/** /api/stacks: list, one, file, start, stop. */
export function createStacksApi(
  world: World,
  family: Family,
  times: { startMs: number; sleep: (ms: number) => Promise<void> },
) {
  function list({ query, res }: SandboxCall) {
    let filters: { EndpointID?: number; SwarmID?: string };
    try {
      filters = JSON.parse(query.get('filters') ?? '{}');
    } catch {
      return sendJson(res, 400, { message: 'Invalid query parameter: filters', details: 'Invalid JSON' });
    }
    const shown = world.stacks.filter(
      ({ endpointId, type }) => filters.EndpointID === undefined || (endpointId === filters.EndpointID && type === 2),
    );
    // Go's nil slice.
    sendJson(res, 200, shown.length === 0 ? null : shown.map(toJson));
  }

  async function change({ query, res }: SandboxCall, stack: Stack, action: string): Promise<void> {
    const refuse = (status: number, message: string, details = message) => sendJson(res, status, { message, details });
    const wanted = query.get('endpointId');
    if (wanted === null || !/^\d+$/.test(wanted)) {
      return refuse(400, 'Invalid query parameter: endpointId', 'Missing query parameter: endpointId');
    }
    if (stack.type === 3) {
      const verb = action === 'start' ? 'Starting' : 'Stopping';
      return refuse(400, `${verb} a kubernetes stack is not supported`);
    }
    // Not compared with the stack's own endpoint, as in Portainer: start deploys to whichever one is named.
    const endpoint = world.endpoints.find(({ id }) => id === Number(wanted));
    if (endpoint === undefined) {
      return refuse(404, 'Unable to find an endpoint with the specified identifier inside the database');
    }
    if (endpoint.down) {
      return action === 'start'
        ? refuse(500, 'Unable to check for name collision', 'Cannot connect to the Docker daemon')
        : refuse(500, 'Unable to stop stack', 'Cannot connect to the Docker daemon');
    }
    const refusal = action === 'start' ? family.refuseStart(world, stack, endpoint.id) : family.refuseStop(stack);
    if (refusal !== undefined) return refuse(...refusal);
    try {
      if (action === 'start') await composeUp(world, stack, endpoint.id, times);
      else await composeDown(world, stack, endpoint.id, times);
    } catch (error) {
      return refuse(500, `Unable to ${action} stack`, (error as Error).message);
    }
    stack.status = action === 'start' ? 1 : 2;
    sendJson(res, 200, toJson(stack));
  }

  return async (call: SandboxCall, id: string | undefined, action: string | undefined): Promise<void> => {
    const { method, res } = call;
    if (id === undefined) return list(call);
    const stack = world.stacks.find((item) => item.id === Number(id));
    if (stack === undefined) {
      const message = 'Unable to find a stack with the specified identifier inside the database';
      return sendJson(res, 404, { message, details: 'Object not found inside the database' });
    }
    if (method === 'GET' && action === undefined) return sendJson(res, 200, toJson(stack));
    if (method === 'GET' && action === 'file') return sendJson(res, 200, { StackFileContent: stack.file });
    if (method === 'POST' && (action === 'start' || action === 'stop')) return change(call, stack, action);
    res.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' });
    res.end('404 page not found\n');
  };
}
