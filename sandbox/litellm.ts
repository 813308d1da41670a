import { type Profile, profiles, sendProxyError } from './litellm/answers.ts';
import { answerDailyActivity } from './litellm/daily-activity.ts';
import { admit, createDirectory, type Directory, directoryRoutes, masterKey, refusedKey } from './litellm/directory.ts';
import { answerGlobalSpend, answerPaywall } from './litellm/global-spend.ts';
import { completeRow, createRows, type SpendLogRow } from './litellm/rows.ts';
import { answerSpendLogs } from './litellm/spend-logs.ts';
import { answerSpendLogPages } from './litellm/spend-pages.ts';
import type { View } from './litellm/view.ts';
import { runSandbox, type Sandbox, type SandboxCall, sendJson, startSandbox } from './server.ts';

export type { Directory } from './litellm/directory.ts';
export type { SpendLogRow } from './litellm/rows.ts';

export interface LitellmSandboxOptions {
  port?: number;
  seed?: number;
  /** 1.53, 1.79 or 1.101, which is the default. */
  profile?: string;
  /** How this proxy differs from the profile: a route that is closed, a version between two profiles. */
  differs?: Partial<Profile>;
  /** The proxy's clock: its rows end here. */
  now?: () => Date;
  /** False: it runs without its database, and every spend route fails. */
  database?: boolean;
  /** Rows are written this long after their request ended; 0 by default, where LiteLLM needs 10 s or more. */
  writeLagMs?: number;
  /** The host's offset from UTC: versions before 1.60 store its wall time as if it were UTC. */
  utcOffsetMinutes?: number;
  /** When the proxy was upgraded to a version with daily tables, which know nothing from before. ISO, UTC. */
  dailySince?: string;
  /** Spend logs that began before were deleted; the daily tables keep their days. ISO, UTC. */
  keptSince?: string;
  /** Rows that the daily tables never got. */
  dailyLoses?: (row: SpendLogRow) => boolean;
}

export interface LitellmSandbox extends Sandbox {
  /** What a function needs in its environment to call it. */
  credentials: Record<string, string>;
  /** The table behind every route, in true UTC; oldest first as made, then as added. */
  rows: SpendLogRow[];
  directory: Directory;
  /** Logs a request. A request_id that is already there is dropped, as LiteLLM drops it. */
  addRow(row: Partial<SpendLogRow> & { startTime: string }): void;
}

const historyDays = 120;

const shifted = (iso: string | null, ms: number) =>
  iso === null ? null : new Date(Date.parse(iso) + ms).toISOString();

/**
 * A simulated LiteLLM proxy over about four months of made-up requests: the spend routes of 1.53.7, 1.79 or 1.101 with
 * their edges. Keys: `sk-sandbox` is the master key, `sk-auditor` a viewer's, `sk-alice` an internal user's, `sk-spent`
 * is over its budget.
 */
export async function startLitellmSandbox(options: LitellmSandboxOptions = {}): Promise<LitellmSandbox> {
  const { seed = 1, profile: name = '1.101', now = () => new Date(), database = true, writeLagMs = 0 } = options;
  const known = profiles[name];
  if (known === undefined) throw new Error(`No such profile: ${name}. Known: ${Object.keys(profiles).join(', ')}`);
  const profile: Profile = { ...known, ...options.differs };
  const rows = createRows({ seed, until: now(), days: historyDays });
  const ids = new Set(rows.map((row) => row.request_id));
  const directory = createDirectory();
  const { dailySince = '', keptSince = '', dailyLoses = () => false, utcOffsetMinutes = 0 } = options;
  let reads = 0;

  /** The table as the routes see it: written by now, in the proxy's clock. */
  function readTable(kept: (row: SpendLogRow) => boolean): SpendLogRow[] {
    const written = now().getTime() - writeLagMs;
    const isWritten = (row: SpendLogRow) => writeLagMs === 0 || Date.parse(row.endTime) <= written;
    const found = rows.filter((row) => isWritten(row) && kept(row));
    if (utcOffsetMinutes === 0) return found;
    const ms = utcOffsetMinutes * 60_000;
    return found.map((row) => ({
      ...row,
      startTime: shifted(row.startTime, ms)!,
      endTime: shifted(row.endTime, ms)!,
      completionStartTime: shifted(row.completionStartTime, ms),
    }));
  }

  function handle(call: SandboxCall) {
    const { method, path, res } = call;
    if (path === '/health/readiness') {
      const db = database ? 'connected' : 'Not connected';
      return sendJson(res, 200, { status: 'connected', db, cache: null, litellm_version: profile.version });
    }
    const route = routes[path];
    if (route === undefined || profile.without.includes(path)) return sendJson(res, 404, { detail: 'Not Found' });
    if (method !== 'GET') return sendJson(res, 405, { detail: 'Method Not Allowed' });
    if (!database) return sendNoDatabase(call);
    const scope = admit(call, directory);
    if (scope === null) return;
    return route({
      call,
      profile: profile,
      directory,
      scope,
      now: now(),
      logs: () => readTable((row) => row.startTime >= keptSince),
      daily: () => readTable((row) => row.startTime >= dailySince && !dailyLoses(row)),
      turn: ++reads,
    });
  }

  const unauthorized = { ...refusedKey('sk-revoked'), code: '401' };
  const sandbox = await startSandbox({
    name: 'litellm',
    ...(options.port === undefined ? {} : { port: options.port }),
    handle,
    unauthorized: { status: 401, body: { error: unauthorized } },
    state: () => ({ profile: profile.version, rows: rows.length }),
  });
  return {
    ...sandbox,
    credentials: { LITELLM_API_KEY: masterKey },
    rows,
    directory,
    addRow(row) {
      const whole = completeRow(row);
      if (ids.has(whole.request_id)) return;
      ids.add(whole.request_id);
      rows.push(whole);
    },
  };
}

const routes: Record<string, (view: View) => void> = {
  '/spend/logs': answerSpendLogs,
  '/spend/logs/v2': answerSpendLogPages,
  '/spend/logs/ui': answerSpendLogPages,
  '/user/daily/activity': answerDailyActivity,
  '/user/daily/activity/aggregated': answerDailyActivity,
  '/global/spend': answerGlobalSpend,
  '/global/spend/report': answerPaywall,
  ...Object.fromEntries(
    Object.entries(directoryRoutes).map(([path, answer]) => [
      path,
      ({ call, directory, scope }: View) => answer(call, directory, scope),
    ]),
  ),
};

/** The pages blame the key where the database is missing. */
function sendNoDatabase({ res, path }: SandboxCall) {
  if (path.startsWith('/spend/logs/')) {
    return sendProxyError(res, 401, { message: 'Prisma Client is not initialized', type: 'internal_error' });
  }
  sendProxyError(res, 500, { message: `${path} ErrorNo db connected`, type: 'internal_error' });
}

if (import.meta.main) await runSandbox(startLitellmSandbox);
