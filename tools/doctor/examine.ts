import { lastDue } from '../gateway/cron.ts';
import { type Answer, call } from './call.ts';

export interface Finding {
  check: 'reachable' | 'auth' | 'upstream' | 'stream' | 'time-out' | 'state' | 'tick';
  /** `unknown`: it could not be measured, and the sentence says why. */
  result: 'ok' | 'failed' | 'unknown';
  /** What was measured; for a failure with the setting to change. */
  sentence: string;
}

export interface Patient {
  /** Where the function answers, without a trailing slash. */
  url: string;
  key: string | undefined;
  /** Its cron expression in the stack file, UTC. */
  schedule: string | undefined;
  /** How long an answer may take on this way: what the operator wants to hold. */
  wantedSeconds: number;
}

interface Diagnosis {
  started_at: string;
  durable: boolean | null;
  last_tick: { at: string; status: number } | null;
  upstreams: { name: string; settings: string; ok: boolean; version?: string | null; failure?: string }[];
}

const eventCount = 8;
const everyMs = 200;
const ok = (check: Finding['check'], sentence: string): Finding => ({ check, result: 'ok', sentence });
const failed = (check: Finding['check'], sentence: string): Finding => ({ check, result: 'failed', sentence });
const unknown = (check: Finding['check'], sentence: string): Finding => ({ check, result: 'unknown', sentence });
const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

/** Who on the way made this answer: OpenFaaS marks its own. */
function whoCut({ status, headers, complete }: Answer): string {
  const from = headers['x-openfaas-internal'];
  if (from === 'of-watchdog') return "the function's exec_timeout (environment in the stack file)";
  if (from === 'proxy') return "the gateway's upstream_timeout";
  if (!complete || status === 200) return "write_timeout of the function, or the gateway's, or a proxy's idle time-out";
  return 'a proxy before OpenFaaS (nginx: proxy_read_timeout; Traefik: respondingTimeouts; Caddy: response_header_timeout)';
}

async function examineStream(url: string, headers: Record<string, string>): Promise<Finding> {
  const path = `${url}/stream?events=${eventCount}&every_ms=${everyMs}`;
  const spreadOf = async (accept: string) => {
    const { arrivalsMs, body } = await call(path, { ...headers, Accept: accept }, 60_000);
    if (body.split('\n\n').length - 1 < eventCount) return undefined;
    return arrivalsMs.at(-1)! - arrivalsMs[0]!;
  };
  const [asked, plain] = [await spreadOf('text/event-stream'), await spreadOf('application/json')];
  const whole = (eventCount - 1) * everyMs;
  const isInTime = (spread: number | undefined) => spread !== undefined && spread > whole * 0.6;
  if (!isInTime(asked)) {
    const how =
      asked === undefined ? 'is cut' : `comes within ${seconds(asked)} instead of ${seconds(whole)}, in bursts`;
    return failed(
      'stream',
      `with Accept: text/event-stream a stream ${how}: turn buffering off in the proxy before OpenFaaS (nginx: proxy_buffering off; Traefik: no buffering middleware)`,
    );
  }
  const others = isInTime(plain)
    ? 'and without it'
    : 'and in one piece without it, as OpenFaaS has it: let the proxy set Accept on streaming calls';
  return ok('stream', `arrives in time with Accept: text/event-stream, ${others}`);
}

async function examineTimeout(url: string, headers: Record<string, string>, wanted: number): Promise<Finding> {
  const answer = await call(`${url}/wait?seconds=${wanted}`, headers, wanted * 1_000 + 30_000).catch(
    (error: Error) => error,
  );
  if (answer instanceof Error) return failed('time-out', `an answer after ${wanted} s never came: ${answer.message}`);
  if (answer.status === 200 && answer.body !== '') return ok('time-out', `an answer after ${wanted} s arrives`);
  return failed('time-out', `cut after ${seconds(answer.durationMs)} with ${answer.status}: raise ${whoCut(answer)}`);
}

function examineTick(schedule: string, { last_tick, started_at }: Diagnosis, now: Date): Finding {
  const due = lastDue(schedule, now);
  if (due === undefined) {
    return failed('tick', `"${schedule}" is no schedule, and cron-connector ignores it silently: mend the annotation`);
  }
  if (last_tick !== null && last_tick.status < 400) return ok('tick', `the last one came at ${last_tick.at}`);
  // A minute of grace for the connector, which looks for functions now and then.
  if (Date.parse(started_at) > due.getTime() - 60_000) {
    return unknown('tick', `none was due since the start at ${started_at}`);
  }
  return failed(
    'tick',
    `none since the start at ${started_at}, though one was due at ${due.toISOString()}: deploy cron-connector, set ALLOW_SCHEDULED_TICK=true and the annotation topic: cron-function`,
  );
}

/** Everything that can be said of a deployed function from outside, and from its own `/_doctor`. Never throws. */
export async function examine({ url, key, schedule, wantedSeconds }: Patient, now = new Date()): Promise<Finding[]> {
  const paths = ['/_doctor', '/_proxy/doctor'];
  const without = await Promise.all(paths.map((path) => call(`${url}${path}`, {}, 15_000))).catch(
    (error: Error) => error,
  );
  if (without instanceof Error) {
    return [failed('reachable', `${without.message}: check the URL, and that the gateway listens there`)];
  }
  const isMissing = without.find(({ headers }) => headers['x-openfaas-internal'] !== undefined);
  if (isMissing !== undefined) {
    const what = isMissing.body.trim() || `the platform answered ${isMissing.status}`;
    return [failed('reachable', `${what}: faas-cli deploy, then faas-cli describe and faas-cli logs`)];
  }
  const findings = [ok('reachable', 'it answers')];

  const headers: Record<string, string> = key === undefined ? {} : { 'X-Api-Key': key };
  const open = without.findIndex(({ status }) => status === 200);
  if (open >= 0)
    findings.push(failed('auth', 'it answers without a key: set AUTH=api-key and the secret function-api-key'));
  let base = open >= 0 ? `${url}${paths[open]}` : undefined;
  if (base === undefined && key === undefined) {
    return [...findings, unknown('auth', 'a key is wanted, as it should be; give one with --key to see the rest')];
  }
  let own = open >= 0 ? without[open] : undefined;
  for (const path of base === undefined ? paths : []) {
    const answer = await call(`${url}${path}`, headers, 30_000).catch(() => undefined);
    if (answer?.status === 200 && answer.body.includes('"started_at"')) {
      base = `${url}${path}`;
      own = answer;
      break;
    }
    if (answer?.status === 401) {
      return [
        ...findings,
        failed('auth', 'this key is refused: add it to the secret function-api-key (lines name:key)'),
      ];
    }
  }
  if (base === undefined || own === undefined) {
    return [...findings, unknown('upstream', 'it has no /_doctor: it is not of this collection, or older')];
  }
  if (open < 0) findings.push(ok('auth', 'refused without the key, admitted with it'));

  const diagnosis = JSON.parse(own.body) as Diagnosis;
  for (const { name, settings, ok: isWell, version, failure } of diagnosis.upstreams) {
    findings.push(
      isWell
        ? ok('upstream', `${name} answers${version ? `, version ${version}` : ''}`)
        : failed('upstream', `${name} ${failure}; settings: ${settings}`),
    );
  }
  if (diagnosis.durable === true) findings.push(ok('state', 'survives the container'));
  if (diagnosis.durable === false) {
    findings.push(failed('state', 'dies with the container: set STORE_URL=postgres://...'));
  }
  if (schedule !== undefined) findings.push(examineTick(schedule, diagnosis, now));
  findings.push(...(await Promise.all([examineStream(base, headers), examineTimeout(base, headers, wantedSeconds)])));
  return findings;
}
