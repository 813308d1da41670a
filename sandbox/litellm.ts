import { profiles, sendProxyError } from './litellm/answers.ts';
import { answerDailyActivity } from './litellm/daily-activity.ts';
import { completeRow, createRows, hashKey, type SpendLogRow } from './litellm/rows.ts';
import { answerSpendLogPages, answerSpendLogs } from './litellm/spend-logs.ts';
import { runSandbox, type Sandbox, type SandboxCall, sendJson, startSandbox } from './server.ts';

export type { SpendLogRow } from './litellm/rows.ts';

export interface LitellmSandboxOptions {
  port?: number;
  seed?: number;
  /** 1.101 by default. */
  profile?: string;
  /** The proxy's clock: its rows end here. */
  now?: () => Date;
}

export interface LitellmSandbox extends Sandbox {
  /** What a function needs in its environment to call it. */
  credentials: Record<string, string>;
  /** The table behind every route; oldest first as made, then as added. */
  rows: SpendLogRow[];
  /** Logs a request. A request_id that is already there is dropped, as LiteLLM drops it. */
  addRow(row: Partial<SpendLogRow> & { startTime: string }): void;
}

const masterKey = 'sk-sandbox';
const historyDays = 120;

function presentedKey({ headers }: SandboxCall): string | undefined {
  const bearer = /^Bearer\s+(.+)$/i.exec(headers.authorization ?? '')?.[1];
  const others = [headers['x-litellm-api-key'], headers['x-goog-api-key'], headers['x-api-key']];
  return (
    bearer ?? (others.find((value) => typeof value === 'string') as string | undefined)?.replace(/^Bearer\s+/i, '')
  );
}

/** False when the call was refused, with the body that LiteLLM gives. */
function admit(call: SandboxCall): boolean {
  const key = presentedKey(call);
  if (key === masterKey) return true;
  if (key === undefined || key === '') {
    sendProxyError(call.res, 401, { message: 'Authentication Error, No api key passed in.', type: 'auth_error' });
    return false;
  }
  sendProxyError(call.res, 401, refusedKey(key));
  return false;
}

function refusedKey(key: string) {
  return {
    message:
      `Authentication Error, Invalid proxy server token passed. Received API Key = sk-...${key.slice(-4)}, ` +
      `Key Hash (Token) =${hashKey(key)}. Unable to find token in cache or \`LiteLLM_VerificationTokenTable\``,
    type: 'token_not_found_in_db',
    param: 'key',
  };
}

/** A simulated LiteLLM proxy: the spend routes of its newest version over about four months of made-up requests. */
export async function startLitellmSandbox(options: LitellmSandboxOptions = {}): Promise<LitellmSandbox> {
  const { seed = 1, profile: name = '1.101', now = () => new Date() } = options;
  const profile = profiles[name];
  if (profile === undefined) throw new Error(`No such profile: ${name}. Known: ${Object.keys(profiles).join(', ')}`);
  const rows = createRows({ seed, until: now(), days: historyDays });
  const ids = new Set(rows.map((row) => row.request_id));

  function handle(call: SandboxCall) {
    const { method, path, res } = call;
    if (path === '/health/readiness') {
      return sendJson(res, 200, {
        status: 'connected',
        db: 'connected',
        cache: null,
        litellm_version: profile!.version,
      });
    }
    const route = {
      '/spend/logs': () => answerSpendLogs(call, rows, profile!),
      '/spend/logs/v2': () => answerSpendLogPages(call, rows, profile!),
      '/spend/logs/ui': () => answerSpendLogPages(call, rows, profile!),
      '/user/daily/activity': () => answerDailyActivity(call, rows),
      '/user/daily/activity/aggregated': () => answerDailyActivity(call, rows),
    }[path];
    if (route === undefined) return sendJson(res, 404, { detail: 'Not Found' });
    if (method !== 'GET') return sendJson(res, 405, { detail: 'Method Not Allowed' });
    if (admit(call)) return route();
  }

  const unauthorized = {
    message: refusedKey('sk-revoked').message,
    type: 'token_not_found_in_db',
    param: 'key',
    code: '401',
  };
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
    addRow(row) {
      const whole = completeRow(row);
      if (ids.has(whole.request_id)) return;
      ids.add(whole.request_id);
      rows.push(whole);
    },
  };
}

if (import.meta.main) await runSandbox(startLitellmSandbox);
