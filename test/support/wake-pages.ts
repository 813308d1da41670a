import { createRouter } from '../../functions/spot-start-service/handler.ts';
import type { Found } from '../../functions/spot-start-service/resolve/match.ts';
import type { ContainerState, ServiceState } from '../../functions/spot-start-service/service.ts';
import { createWakeRoutes } from '../../functions/spot-start-service/wake/routes.ts';
import { HttpError, UpstreamError } from '../../shared/errors.ts';
import { defineFunction } from '../../shared/http/define.ts';
import { serveHandler } from './serve.ts';

const container = (service: string, rest: Partial<ContainerState> = {}): ContainerState => ({
  name: `cloud-${service}-1`,
  service,
  state: 'running',
  health: 'healthy',
  class: 'ok',
  ...rest,
});
const warming = { health: 'starting', class: 'starting' } as const;

/** A service in each state that the page can be asked about, by the first part of its host. */
export const wakeStates: Record<string, { name: string; state: ServiceState }> = {
  removed: { name: 'nextcloud', state: { verdict: 'removed', containers: [] } },
  pulling: { name: 'nextcloud', state: { verdict: 'removed', containers: [], inProgress: 'start' } },
  warming: {
    name: 'nextcloud',
    state: {
      verdict: 'starting',
      containers: [
        container('app', warming),
        container('cron', { state: 'created', health: 'none', class: 'created' }),
        container('db'),
        container('migrate', { state: 'exited', health: 'none', class: 'completed' }),
        container('redis', { health: 'none' }),
      ],
    },
  },
  healing: {
    name: 'mediaservice',
    state: {
      verdict: 'unhealthy',
      inProgress: 'restart',
      containers: [container('jellyfin', { health: 'unhealthy', class: 'unhealthy' }), container('sonarr')],
    },
  },
  ready: { name: 'nextcloud', state: { verdict: 'healthy', containers: [container('app'), container('db')] } },
  failed: {
    name: 'nextcloud',
    state: {
      verdict: 'partial',
      containers: [container('app', { state: 'created', health: 'none', class: 'created' }), container('db')],
      failure: {
        code: 'start_failed',
        message: 'Portainer could not start it: the port it needs is taken by something else on prod-vm-1',
        atMs: Date.now() + 3_600_000,
      },
    },
  },
  long: {
    name: 'a-stack-whose-name-somebody-thought-about-for-rather-too-long',
    state: {
      verdict: 'starting',
      containers: Array.from({ length: 9 }, (_, at) =>
        container(`service-with-quite-a-long-name-of-its-own-${at}`, at % 2 === 0 ? {} : warming),
      ),
    },
  },
};

/** The function's pages on a port, for visits of `http://<state>.localhost:<port>/wake?referral_url=...`. */
export async function serveWakePages() {
  const starts: string[] = [];
  const idOf = (host: string) => Object.keys(wakeStates).indexOf(host.split('.')[0] as string);
  const shown = (host: string) => wakeStates[host.split('.')[0] as string];
  const routes = createWakeRoutes({
    now: Date.now,
    scope: ({ log, signal }) => ({ log, signal, endsAtMs: Date.now() + 10_000 }),
    service: {
      async resolve({ host = '' }) {
        if (host.startsWith('down.')) throw new UpstreamError('Portainer', 'network', 'ECONNREFUSED');
        const its = shown(host);
        if (its === undefined) throw new HttpError(404, 'none', { code: 'service_not_found' });
        const found = {
          name: its.name,
          endpoint: { id: idOf(host), name: host },
          stackId: 80,
          labelled: true,
          hostIsKnown: true,
        };
        return found as Found;
      },
      status: async ({ endpoint }) => (shown(endpoint.name) as { state: ServiceState }).state,
      async wake({ endpoint }) {
        starts.push(endpoint.name);
        return { ...(wakeStates.pulling as { state: ServiceState }).state, action: 'start', finished: false };
      },
    },
  });
  const authenticate = async () => ({ name: 'test', method: 'none' as const });
  const served = await serveHandler(defineFunction({ authenticate }, createRouter(routes)));
  const port = new URL(served.url).port;
  return {
    ...served,
    starts,
    addressOf: (state: string) =>
      `http://${state}.localhost:${port}/wake?referral_url=http://${state}.localhost:${port}/`,
  };
}
