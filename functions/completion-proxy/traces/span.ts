import { operationOf } from '../metrics/metrics.ts';
import type { CallRecord } from '../records/record.ts';
import type { Trace } from './trace.ts';

type Value = string | number | boolean | string[] | null | undefined;

/** In OTLP's JSON, integers are texts. */
function toAny(value: NonNullable<Value>): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map((item) => ({ stringValue: item })) } };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'string') return { stringValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

export const toAttributes = (values: Record<string, Value>) =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([key, value]) => ({ key, value: toAny(value as NonNullable<Value>) }));

/** In the conventions the input holds the cached parts; Anthropic counts them beside it. */
function inputOf({ tokens, provider }: CallRecord): number | undefined {
  if (tokens.input === undefined || provider !== 'anthropic') return tokens.input;
  return tokens.input + (tokens.cached_input ?? 0) + (tokens.cache_creation ?? 0);
}

const nanos = (iso: string) => `${Date.parse(iso)}000000`;

/** A call of a model as a span of OTLP's JSON, with the names of OpenTelemetry's GenAI conventions; no prompt, no answer. */
export function toSpan(record: CallRecord, trace: Trace, backendOrigin: string | undefined) {
  const { tokens, outcome, status } = record;
  const isFailed = outcome !== 'ok' || status >= 400;
  const operation = operationOf(record);
  const backend = backendOrigin === undefined ? undefined : new URL(backendOrigin);
  return {
    traceId: trace.traceId,
    spanId: trace.spanId,
    ...(trace.parentId === undefined ? {} : { parentSpanId: trace.parentId }),
    ...(trace.state === undefined ? {} : { traceState: trace.state }),
    name: `${operation} ${record.requested_model}`.trim(),
    // CLIENT: it asks a model.
    kind: 3,
    startTimeUnixNano: nanos(record.started_at),
    endTimeUnixNano: nanos(record.ended_at),
    attributes: toAttributes({
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': record.provider,
      'gen_ai.request.model': record.requested_model,
      'gen_ai.request.stream': record.stream,
      'gen_ai.response.id': record.upstream_id,
      'gen_ai.response.model': record.model,
      'gen_ai.response.finish_reasons': record.finish_reason === null ? null : [record.finish_reason],
      'gen_ai.response.time_to_first_chunk': record.first_byte_ms === null ? null : record.first_byte_ms / 1_000,
      'gen_ai.usage.input_tokens': inputOf(record),
      'gen_ai.usage.output_tokens': tokens.output,
      'gen_ai.usage.cache_read.input_tokens': tokens.cached_input,
      'gen_ai.usage.cache_creation.input_tokens': tokens.cache_creation,
      'gen_ai.usage.reasoning.output_tokens': tokens.reasoning,
      'error.type': isFailed ? (status >= 400 ? String(status) : outcome) : null,
      'server.address': backend?.hostname,
      'server.port': backend === undefined ? null : Number(backend.port || (backend.protocol === 'https:' ? 443 : 80)),
      'http.request.method': record.method,
      'url.path': record.path,
      'http.response.status_code': status,
      'completion_proxy.call_id': record.id,
      'completion_proxy.caller': record.caller,
      'completion_proxy.backend': record.backend,
      'completion_proxy.outcome': outcome,
      'completion_proxy.attempts': record.attempts,
      'completion_proxy.failed_attempts': record.failed_attempts.map(
        ({ backend: name, failure, status: code }) => `${name}: ${code ?? failure}`,
      ),
      'completion_proxy.cost_usd': record.cost_usd,
    }),
    status: isFailed ? { code: 2, message: outcome } : {},
  };
}
