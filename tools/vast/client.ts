import { parseArgs } from 'node:util';
import createFunction from '../../functions/completion-proxy/index.ts';
import { listEndpoints } from '../../functions/completion-proxy/vast/account.ts';
import type { Handler } from '../../shared/http/function.ts';
import { json } from '../../shared/http/respond.ts';
import { serve } from '../../template/node24-ts/server.ts';
import { openLocal } from './local.ts';

export interface VastClientOptions {
  /** The name of the endpoint. */
  endpoint: string;
  /** The endpoint's key, or the account's. */
  apiKey?: string;
  accountKey?: string;
  autoscalerUrl?: string;
  consoleUrl?: string;
  /** What a call costs of which nothing says how much it makes; 100. */
  defaultCost?: number;
  /** Seconds that a call waits for workers to start; 600. */
  waitS?: number;
  /** PEM file of Vast's authority. */
  caFile?: string;
  /** Of web pages of other machines that may call, as `https://app.example.com`. */
  origins?: string[];
}

const toEnv = (options: VastClientOptions): Record<string, string> => {
  const { endpoint, apiKey, accountKey, autoscalerUrl, consoleUrl, defaultCost, waitS = 600, caFile } = options;
  const { origins = [] } = options;
  const given = {
    VAST_ENDPOINT: endpoint,
    VAST_API_KEY: apiKey,
    VAST_ACCOUNT_KEY: accountKey,
    VAST_URL: autoscalerUrl,
    VAST_CONSOLE_URL: consoleUrl,
    VAST_DEFAULT_COST: defaultCost?.toString(),
    VAST_WAIT_S: String(waitS),
    VAST_CA_FILE: caFile,
    CORS_ORIGINS: origins.join(),
    AUTH: 'none',
    // Every path is the worker's; ours are below /_proxy.
    OWN_ROUTES: 'prefixed',
    HISTORY_DAYS: '0',
    LOG_LEVEL: 'warn',
  };
  return Object.fromEntries(Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== undefined));
};

const isLocal = (origin: string) => /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(origin);

/** Any web page may post to a port of this machine, and each call costs money: those from elsewhere have to be named. */
function forLocalPages(handler: Handler, origins: readonly string[]): Handler {
  const guarded: Handler = async (event, context) => {
    const { origin } = event.headers;
    if (origin === undefined || isLocal(origin) || origins.includes(origin)) return handler(event, context);
    const error = 'A web page of another machine may not call: allow it with --origin, or `origins`';
    return json(403, { error, code: 'origin_not_allowed', call_id: context.callId });
  };
  return Object.assign(guarded, handler);
}

/** The handler of a client: any path goes to a worker of the endpoint. Rejects with ConfigError. */
export const createVastHandler = async (options: VastClientOptions): Promise<Handler> =>
  forLocalPages(await createFunction(toEnv(options)), options.origins ?? []);

/**
 * A client as a module: `(await openVastClient({endpoint, apiKey})).fetch('/v1/models')` is what `fetch` is, at whichever
 * worker the autoscaler names. Call `close` at the end.
 */
export const openVastClient = async (options: VastClientOptions) => openLocal(await createVastHandler(options));

const usage = `usage: npm run vast-client -- --endpoint NAME [--port 8010] [--host 127.0.0.1]
  --api-key KEY          or VAST_API_KEY: the endpoint's key
  --account-key KEY      or VAST_ACCOUNT_KEY: the account's, which finds the endpoint's
  --list                 the endpoints of the account, and the end
  --autoscaler-url URL   https://run.vast.ai
  --console-url URL      https://console.vast.ai
  --instance NAME        prod: the autoscaler of --list
  --wait SECONDS         600: how long a call waits for workers to start
  --cost N               100: what a call costs that names no tokens or steps
  --ca FILE              PEM of Vast's authority
  --origin URL           a web page of another machine that may call; may be repeated
  --debug                log every call`;

async function main() {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      endpoint: text,
      port: { ...text, default: '8010' },
      host: { ...text, default: '127.0.0.1' },
      'api-key': text,
      'account-key': text,
      list: { type: 'boolean' },
      'autoscaler-url': text,
      'console-url': { ...text, default: 'https://console.vast.ai' },
      instance: { ...text, default: 'prod' },
      wait: { ...text, default: '600' },
      cost: text,
      ca: text,
      origin: { ...text, multiple: true, default: [] },
      debug: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const { env } = process;
  const accountKey = values['account-key'] ?? env.VAST_ACCOUNT_KEY;
  const apiKey = values['api-key'] ?? env.VAST_API_KEY;
  const endpoint = values.endpoint ?? env.VAST_ENDPOINT;
  if (values.help) return console.log(usage);
  if (values.list) {
    if (accountKey === undefined) throw new Error('--list needs --account-key or VAST_ACCOUNT_KEY');
    const endpoints = await listEndpoints(values['console-url'], accountKey, { instance: values.instance });
    return console.log(endpoints.map(({ id, name }) => `${id}\t${name}`).join('\n'));
  }
  if (endpoint === undefined) throw new Error(`--endpoint is missing\n${usage}`);
  if (apiKey === undefined && accountKey === undefined) {
    throw new Error('API key required! Use --api-key or set VAST_API_KEY env var');
  }
  const settings = {
    ...toEnv({ endpoint, consoleUrl: values['console-url'], origins: values.origin }),
    ...(apiKey === undefined ? {} : { VAST_API_KEY: apiKey }),
    ...(accountKey === undefined ? {} : { VAST_ACCOUNT_KEY: accountKey }),
    ...(values['autoscaler-url'] === undefined ? {} : { VAST_URL: values['autoscaler-url'] }),
    ...(values.cost === undefined ? {} : { VAST_DEFAULT_COST: values.cost }),
    ...(values.ca === undefined ? {} : { VAST_CA_FILE: values.ca }),
    VAST_WAIT_S: values.wait,
    LOG_LEVEL: values.debug ? 'debug' : 'info',
    HOST: values.host,
    PORT: values.port,
    healthcheck_interval: '0s',
  };
  return serve(async (env) => forLocalPages(await createFunction(env), values.origin), settings);
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(`ERROR: ${error.message}`);
    process.exit(1);
  });
}
