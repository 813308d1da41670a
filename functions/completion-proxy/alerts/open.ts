import { spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { createHttpClient } from '#shared/clients/http.ts';
import type { Secret } from '#shared/config/secrets.ts';
import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { createLogger } from '#shared/log.ts';
import type { Limits } from '../callers/limits.ts';
import type { OwnRoute } from '../own/routes.ts';
import { createReporter } from './reporter.ts';

export interface AlertSettings {
  key: Secret | undefined;
  endpoint: string;
  environment: string;
  redact: readonly RegExp[];
}

export interface Alerts {
  /** The same log; its errors are reported as well. */
  watch(log: Logger, fields?: Record<string, unknown>): Logger;
  close(): Promise<void>;
  /** undefined: there is no key, and nothing is reported. */
  prove: (() => Promise<string | undefined>) | undefined;
}

const noAlerts: Alerts = { watch: (log) => log, close: async () => undefined, prove: undefined };

class WatchedLog implements Logger {
  readonly #log: Logger;
  readonly #report: (message: string, fields: Record<string, unknown>) => void;
  readonly #fields: Record<string, unknown>;

  constructor(
    log: Logger,
    report: (message: string, fields: Record<string, unknown>) => void,
    fields: Record<string, unknown>,
  ) {
    this.#log = log;
    this.#report = report;
    this.#fields = fields;
  }

  debug(message: string, fields?: Record<string, unknown>) {
    this.#log.debug(message, fields);
  }

  info(message: string, fields?: Record<string, unknown>) {
    this.#log.info(message, fields);
  }

  warn(message: string, fields?: Record<string, unknown>) {
    this.#log.warn(message, fields);
  }

  error(message: string, fields?: Record<string, unknown>) {
    this.#log.error(message, fields);
    this.#report(message, { ...this.#fields, ...fields });
  }

  child(fields: Record<string, unknown>): Logger {
    return new WatchedLog(this.#log.child(fields), this.#report, { ...this.#fields, ...fields });
  }
}

// Run by a process of its own, since ours is dying; what is secret comes by its standard input.
const postScript = `
let text = '';
process.stdin.on('data', (part) => { text += part; }).on('end', () => {
  const { url, headers, body } = JSON.parse(text);
  fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(4000) }).catch(() => {});
});`;

/** Honeybadger, where there is a key: errors in the log, and what nobody caught. */
export function openAlerts({ key, endpoint, environment, redact }: AlertSettings): Alerts {
  if (key?.read() === undefined) return noAlerts;
  const { origin, pathname } = new URL(endpoint);
  const path = `${pathname.replace(/\/$/, '')}/v1/notices`;
  const client = createHttpClient({ service: 'Honeybadger', baseUrl: origin, timeoutMs: 10_000, attempts: 1 });
  const headers = () => ({ 'X-API-Key': key.read() ?? '', 'Content-Type': 'application/json' });
  const reporter = createReporter({
    async post(notice) {
      const { body } = await client.requestJson({ method: 'POST', path, json: notice, headers: headers() });
      const { id } = (body ?? {}) as { id?: unknown };
      return typeof id === 'string' ? id : undefined;
    },
    postNow(notice) {
      const input = JSON.stringify({ url: origin + path, headers: headers(), body: JSON.stringify(notice) });
      spawnSync(process.execPath, ['-e', postScript], { input, timeout: 5_000, stdio: ['pipe', 'ignore', 'ignore'] });
    },
    frame: { environment, hostname: hostname(), pid: process.pid },
    redact,
    log: createLogger(),
    now: Date.now,
  });
  // Our own log redacts and cuts: what is reported is what it would write, and no more.
  const reported = createLogger({ level: 'error', write: (line) => reporter.take(line) });
  const dying = createLogger({ level: 'error', write: (line) => reporter.takeLast(line) });
  const report = (message: string, fields: Record<string, unknown>) => reported.error(message, fields);
  const onException = (error: unknown) => dying.error('uncaught exception', { error });
  const onRejection = (error: unknown) => {
    dying.error('unhandled rejection', { error });
    // Where nobody else listens the process would live on because we do.
    if (process.listenerCount('unhandledRejection') === 1) throw error;
  };
  process.on('uncaughtExceptionMonitor', onException);
  // Before the server's own, which ends the process.
  process.prependListener('unhandledRejection', onRejection);
  return {
    watch: (log, fields = {}) => new WatchedLog(log, report, fields),
    prove() {
      let line = '';
      const error = new Error('A test of POST /_proxy/honeybadger: errors of this function arrive here');
      createLogger({ write: (text) => (line = text) }).error('test notice', { error });
      return reporter.prove(line);
    },
    async close() {
      process.off('uncaughtExceptionMonitor', onException);
      process.off('unhandledRejection', onRejection);
      await reporter.close();
    },
  };
}

/** `POST /_proxy/honeybadger`: sends a notice and tells its id. Throws 403, 404 without a key, 502 where it was not taken. */
export const alertRoute = ({ prove }: Pick<Alerts, 'prove'>, limits: Pick<Limits, 'isAdmin'>): OwnRoute => ({
  method: 'POST',
  path: '/honeybadger',
  isPrefixedOnly: true,
  async answer(_event, { caller }) {
    if (!limits.isAdmin(caller.name)) throw new HttpError(403, 'Only an admin may do this', { code: 'admin_only' });
    if (prove === undefined) {
      throw new HttpError(404, 'The secret honeybadger-api-key is not there: nothing is reported', {
        code: 'honeybadger_off',
      });
    }
    return json(200, { sent: true, id: (await prove()) ?? null }, { 'Cache-Control': 'no-store' });
  },
});
