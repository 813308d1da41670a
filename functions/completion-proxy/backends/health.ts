import type { Logger } from '#shared/http/function.ts';
import { askBackend } from './ask.ts';
import { type FindCarrier, isAvailable, type Upstream } from './upstream.ts';

export interface HealthOptions {
  find: FindCarrier;
  /** 0 asks only when somebody wants to know. */
  intervalMs: number;
  /** How long a backend may take to be ready after our start before that is an error in the log. */
  readyTimeoutMs: number;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
  clock?: () => number;
}

/** Checks in a row that must fail before calls keep away; one good check brings them back. */
const failuresToLeave = 3;
const answerMs = 5_000;

export interface Health {
  /** Whether a backend can be asked; asks those that were not checked within the interval. */
  isReady(): Promise<boolean>;
  close(): void;
}

export function watchHealth(upstreams: readonly Upstream[], options: HealthOptions): Health {
  const { find, intervalMs, readyTimeoutMs, log, clock = () => performance.now() } = options;
  const startedAt = clock();
  const checked = upstreams.filter(({ backend }) => backend.healthPath !== undefined);
  const failures = new Map<Upstream, number>();
  const wereReady = new Set<Upstream>();
  const toldLate = new Set<Upstream>();
  let checkedAt = Number.NEGATIVE_INFINITY;
  let running: Promise<unknown> | undefined;

  async function isWell({ backend }: Upstream): Promise<boolean> {
    try {
      // A refused key is a fault of the settings, and not of the server.
      const { status } = await askBackend(find, backend, { path: backend.healthPath!, timeoutMs: answerMs });
      return status < 500;
    } catch {
      return false;
    }
  }

  async function check(upstream: Upstream) {
    const { name } = upstream.backend;
    if (await isWell(upstream)) {
      failures.set(upstream, 0);
      wereReady.add(upstream);
      if (!upstream.healthy) log.info('the backend is well again', { backend: name });
      upstream.healthy = true;
      return;
    }
    const failed = (failures.get(upstream) ?? 0) + 1;
    failures.set(upstream, failed);
    if (failed === failuresToLeave && wereReady.has(upstream))
      log.warn('the backend fails its check', { backend: name });
    if (failed >= failuresToLeave) upstream.healthy = false;
    if (wereReady.has(upstream) || toldLate.has(upstream) || clock() - startedAt < readyTimeoutMs) return;
    toldLate.add(upstream);
    log.error('the backend did not become ready in time', { backend: name, ready_timeout_s: readyTimeoutMs / 1_000 });
  }

  const checkAll = () => {
    checkedAt = clock();
    running ??= Promise.all(checked.map(check)).finally(() => {
      running = undefined;
    });
    return running;
  };
  const timer = intervalMs > 0 && checked.length > 0 ? setInterval(checkAll, intervalMs).unref() : undefined;

  return {
    async isReady() {
      if (clock() - checkedAt >= Math.max(intervalMs, 1_000)) await checkAll();
      return upstreams.some((upstream) => isAvailable(upstream) && (failures.get(upstream) ?? 0) === 0);
    },
    close: () => clearInterval(timer),
  };
}
