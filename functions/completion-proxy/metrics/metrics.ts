import { type Counter, createMetrics, type Histogram } from '#shared/metrics.ts';
import type { Upstream } from '../backends/upstream.ts';
import type { CallRecord } from '../records/record.ts';

// The bounds that OpenTelemetry's GenAI conventions advise, in seconds and in tokens.
const secondsBounds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const tokenBounds = [
  1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
];

function operationOn(path: string): string | undefined {
  if (/embed/.test(path)) return 'embeddings';
  if (/\/(chat\/completions|responses|messages|chat)$/.test(path)) return 'chat';
  return /\/(completions|generate)$/.test(path) ? 'text_completion' : undefined;
}

let lastPath = '';
let lastOperation: string | undefined;

/** `gen_ai.operation.name` by the last words of the path. */
export function operationOf({ path, provider }: CallRecord): string {
  // Most calls go where the one before went.
  if (path !== lastPath) {
    lastOperation = operationOn(path);
    lastPath = path;
  }
  return lastOperation ?? provider;
}

/** Why it failed, as `error.type`: the status for an answer, else how it ended. Empty for a call that went well. */
const errorOf = ({ outcome, status }: CallRecord) =>
  outcome !== 'ok' && status < 400 ? outcome : status >= 400 ? String(status) : '';

/** The series of calls that are alike, each found once; those that are optional have no series before there is a value. */
interface CallSeries {
  readonly genAi: string[];
  readonly model: string;
  readonly requests: ReturnType<Counter['at']>;
  readonly duration: ReturnType<Histogram['at']>;
  firstChunk?: ReturnType<Histogram['at']>;
  readonly tokens: { [Type in keyof CallRecord['tokens']]: ReturnType<Histogram['at']> };
  cost?: ReturnType<Counter['at']>;
}

const maxKnown = 1_000;
const maxAnswered = 300;
const maxOthers = 50;

/**
 * Models are the callers' to name. Those that a backend answered for have places of their own, so that names which somebody
 * made up fill the few others, and hide no call's backend, status and caller behind `other`.
 */
function createModelNames(): (name: string, isAnswered: boolean) => string {
  const answered = new Set<string>();
  const others = new Set<string>();
  return (name, isAnswered) => {
    if (answered.has(name) || others.has(name)) return name;
    const [names, max] = isAnswered ? [answered, maxAnswered] : [others, maxOthers];
    if (names.size >= max || name.length > 200) return 'other';
    names.add(name);
    return name;
  };
}

const breakerStates = ['closed', 'half_open', 'open'] as const;

export interface ProxyMetrics {
  /** A sink of the recorder. */
  count(record: CallRecord): void;
  /** Records that a store, a webhook or a trace collector did not get. */
  lost(where: 'history' | 'webhook' | 'traces', records: number): void;
  /** Bytes that pushed streams through the buffers on their way. */
  padded(bytes: number): void;
  render(): string;
}

/**
 * What Prometheus reads at `GET /metrics`. Names of OpenTelemetry's GenAI conventions where there are any (dots become
 * underscores), `completion_proxy_...` for the rest. Of this replica, since its start. Names of models are capped, and so
 * are the series of a metric: what comes after a thousand of them is `other`.
 */
export function createProxyMetrics(upstreams: readonly Upstream[]): ProxyMetrics {
  const metrics = createMetrics();
  const genAi = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'];
  const duration = metrics.histogram(
    'gen_ai_client_operation_duration_seconds',
    'From the call to the end of its answer.',
    secondsBounds,
    [...genAi, 'error_type'],
  );
  const firstChunk = metrics.histogram(
    'gen_ai_client_operation_time_to_first_chunk_seconds',
    'From the call to the first byte of its answer.',
    secondsBounds,
    genAi,
  );
  const usage = metrics.histogram('gen_ai_client_token_usage', 'Tokens of a call, by type.', tokenBounds, [
    ...genAi,
    'gen_ai_token_type',
  ]);
  const requests = metrics.counter('completion_proxy_requests_total', 'Calls of a model, by how they ended.', [
    'backend',
    'model',
    'caller',
    'status',
    'outcome',
  ]);
  const failures = metrics.counter(
    'completion_proxy_attempt_failures_total',
    'Attempts at a backend that failed, by cause.',
    ['backend', 'cause'],
  );
  const cost = metrics.counter('completion_proxy_cost_usd_total', 'US dollars, of calls whose price is known.', [
    'backend',
    'model',
    'caller',
  ]);
  const unpriced = metrics.counter('completion_proxy_unpriced_calls_total', 'Calls with tokens and no known price.', [
    'model',
  ]);
  const lost = metrics.counter(
    'completion_proxy_lost_records_total',
    'Records that were given up, by who missed them.',
    ['where'],
  );
  const padding = metrics.counter(
    'completion_proxy_padding_bytes_total',
    'Comments that pushed streams through buffers on their way.',
  );
  const inFlight = metrics.gauge('completion_proxy_in_flight', 'Calls that a backend works on.', ['backend']);
  const waiting = metrics.gauge('completion_proxy_queue_depth', 'Calls that wait for a place at a backend.', [
    'backend',
  ]);
  const breaker = metrics.gauge('completion_proxy_breaker_state', '0 closed, 1 half open, 2 open.', ['backend']);
  const healthy = metrics.gauge('completion_proxy_backend_healthy', '1 while its health check is well.', ['backend']);

  const nameOf = createModelNames();
  const known = new Map<string, CallSeries>();
  function seriesOf(record: CallRecord): CallSeries {
    const { backend, model, requested_model: requested, provider, caller, status, outcome } = record;
    const operation = operationOf(record);
    // By hand, as it is made for every call.
    const key = `${backend}\u001f${model}\u001f${requested}\u001f${caller}\u001f${status}\u001f${outcome}\u001f${provider}\u001f${operation}`;
    let series = known.get(key);
    if (series !== undefined) return series;
    const isAnswered = outcome === 'ok' && status < 400;
    const named = nameOf(model, isAnswered);
    const genAiLabels = [operation, provider, nameOf(requested, isAnswered)];
    series = {
      genAi: genAiLabels,
      model: named,
      requests: requests.at(backend, named, caller, String(status), outcome),
      duration: duration.at(...genAiLabels, errorOf(record)),
      tokens: {},
    };
    // Models are the callers' to name.
    if (known.size >= maxKnown) known.clear();
    known.set(key, series);
    return series;
  }

  return {
    count(record) {
      const { backend, caller, tokens, first_byte_ms: firstByteMs } = record;
      const series = seriesOf(record);
      series.requests.add(1);
      series.duration.observe(record.duration_ms / 1_000);
      if (firstByteMs !== null) {
        series.firstChunk ??= firstChunk.at(...series.genAi);
        series.firstChunk.observe(firstByteMs / 1_000);
      }
      for (const name in tokens) {
        const type = name as keyof CallRecord['tokens'];
        series.tokens[type] ??= usage.at(...series.genAi, type);
        series.tokens[type].observe(tokens[type] ?? 0);
      }
      for (const failure of record.failed_attempts) {
        failures.add(1, failure.backend, failure.status === null ? failure.failure : String(failure.status));
      }
      if (record.cost_usd !== null) {
        series.cost ??= cost.at(backend, series.model, caller);
        series.cost.add(Number(record.cost_usd));
      } else if (record.usage_source === 'upstream') unpriced.add(1, series.model);
    },
    lost: (where, records) => lost.add(records, where),
    padded: (bytes) => padding.add(bytes),
    render() {
      for (const { backend, gate, breaker: state, healthy: isHealthy } of upstreams) {
        inFlight.set(gate.active, backend.name);
        waiting.set(gate.waiting, backend.name);
        breaker.set(breakerStates.indexOf(state.state), backend.name);
        healthy.set(isHealthy ? 1 : 0, backend.name);
      }
      return metrics.render();
    },
  };
}
