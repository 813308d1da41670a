import { request } from 'node:http';
import { Cron } from 'croner';
import type { StackFunction } from '../stack/stack.ts';
import { parseDurationMs } from './duration.ts';

/** The schedule that cron-connector would see: only with the topic that it listens to. */
export function scheduleOf({ annotations }: Pick<StackFunction, 'annotations'>): string | undefined {
  return annotations.topic === 'cron-function' ? annotations.schedule : undefined;
}

/** `@every 1h30m` in ms, in whole seconds as Go's cron rounds; 0 for less than one, undefined for another kind of schedule. */
function everyMs(schedule: string): number | undefined {
  const [, every] = /^@every (\S+)$/.exec(schedule.trim()) ?? [];
  if (every === undefined) return undefined;
  const intervalMs = parseDurationMs(every, 0);
  return intervalMs - (intervalMs % 1_000);
}

/**
 * Runs `tick` by a schedule as cron-connector reads it: five fields in UTC, or `@hourly`, `@daily`, `@every 1h30m`.
 * Undefined when the schedule is none: there it would never run, and nobody would be told.
 */
export function startSchedule(schedule: string, tick: () => void): { stop(): void } | undefined {
  const intervalMs = everyMs(schedule);
  if (intervalMs === 0) return undefined;
  if (intervalMs !== undefined) {
    const timer = setInterval(tick, intervalMs);
    return { stop: () => clearInterval(timer) };
  }
  try {
    return new Cron(schedule, { timezone: 'UTC', mode: '5-part' }, tick);
  } catch {
    return undefined;
  }
}

/** When the schedule was last due before `now`; undefined when it is no schedule. */
export function lastDue(schedule: string, now: Date): Date | undefined {
  const intervalMs = everyMs(schedule);
  if (intervalMs !== undefined) return intervalMs === 0 ? undefined : new Date(now.getTime() - intervalMs);
  try {
    return new Cron(schedule, { timezone: 'UTC', mode: '5-part', paused: true }).previousRuns(1, now)[0];
  } catch {
    return undefined;
  }
}

/**
 * One tick, byte for byte as cron-connector 0.7 sends it: an empty POST to the function's root with two headers of its
 * own, no Content-Type and no credential. Resolves with the status, as only that is looked at.
 */
export function sendTick(gatewayUrl: string, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const { host, hostname, port } = new URL(gatewayUrl);
    const call = request({
      hostname,
      port,
      method: 'POST',
      path: `/function/${name}.openfaas-fn`,
      agent: false,
      setHost: false,
      headers: [
        ...['Host', host, 'User-Agent', 'Go-http-client/1.1', 'Content-Length', '0'],
        ...['X-Connector', 'cron-connector', 'X-Topic', 'cron-function', 'Accept-Encoding', 'gzip'],
      ],
    });
    call.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.on('error', reject);
    call.end();
  });
}
