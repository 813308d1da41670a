import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLogger } from '#shared/log.ts';
import { createWorker } from '../../functions/completion-proxy/worker/worker.ts';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';
import { openLocal } from '../../tools/vast/local.ts';
import { until } from './bundle-process.ts';
import { type Act, answerJson, type SeenCall, startScriptedBackend } from './scripted-backend.ts';

/** A port that was free a moment ago: a worker tells its address before it listens. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** What a worker on this machine needs to report to the sandbox's autoscaler, with every interval short. */
export const vastEnv = (sandbox: VastSandbox, id: number, port: number): Record<string, string> => ({
  REPORT_ADDR: sandbox.url,
  CONTAINER_ID: String(id),
  PUBLIC_IPADDR: '127.0.0.1',
  WORKER_PORT: String(port),
  [`VAST_TCP_PORT_${port}`]: String(port),
  MASTER_TOKEN: sandbox.credentials['master-token'],
  BENCHMARK: '100',
  BENCHMARK_CACHE_FILE: '/dev/null',
  HEALTHCHECK_RETRY_INTERVAL: '0.02',
  HEALTHCHECK_POLL_INTERVAL: '0.02',
  METRICS_UPDATE_INTERVAL: '0.02',
  DELETE_REQUESTS_INTERVAL: '0.02',
  METRICS_RETRY_DELAY: '0.02',
  PUBKEY_REFRESH_INTERVAL: '0',
  LOG_LEVEL: 'error',
});

/** The worker's handler on a socket of its own, its answers sent as the template sends them; not the whole process. */
export async function startWorker(env: Record<string, string>, port = 0) {
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  const { baseUrl, close } = await openLocal(createWorker(env), log, port);
  return { url: baseUrl, lines, close };
}

const isHealth = ({ url }: SeenCall) => url === '/health';

/** A worker with its backend and autoscaler, loaded; `closing` gets what ends them, to be called last first. */
export async function startLoadedWorker(
  closing: (() => Promise<void> | void)[],
  act: Act,
  env: Record<string, string> = {},
) {
  const backend = await startScriptedBackend((res, call) =>
    isHealth(call) ? answerJson(200, {})(res, call) : act(res, call),
  );
  closing.push(() => backend.close());
  const sandbox = await startVastSandbox();
  closing.push(() => sandbox.close());
  const worker = await startWorker({ ...vastEnv(sandbox, 7, 3_000), BACKEND_URL: backend.url, ...env });
  closing.push(() => worker.close());
  await until('the worker is loaded', () => sandbox.world.workers.get(7)?.isLoaded || undefined);
  const calls = () => backend.calls.filter((call) => !isHealth(call));
  return { backend, calls, sandbox, worker };
}
