import { createHttpClient } from '#shared/clients/http.ts';
import type { Secret } from '#shared/config/secrets.ts';
import type { Logger } from '#shared/log.ts';
import type { CallRecord } from '../records/record.ts';
import type { TraceExporter } from './exporter.ts';
import type { Trace } from './trace.ts';

export interface TraceSettings {
  /** Its `/v1/traces` is posted to. */
  endpoint: string;
  headers: Secret | undefined;
  serviceName: string;
}

/** `api-key=abc,x-team=a%20b`, as OTEL_EXPORTER_OTLP_HEADERS is written everywhere. */
export function parseOtlpHeaders(text = ''): Record<string, string> {
  const pairs = text.split(',').map((pair): [string, string] => {
    const at = pair.indexOf('=');
    const value = pair.slice(at + 1).trim();
    try {
      return [at < 0 ? '' : pair.slice(0, at).trim(), decodeURIComponent(value)];
    } catch {
      return [pair.slice(0, at).trim(), value];
    }
  });
  return Object.fromEntries(pairs.filter(([name]) => name !== ''));
}

/** An exporter that is loaded with its first span: who has no collector carries nothing of it. */
export function openTraces(
  { endpoint, headers, serviceName }: TraceSettings,
  parts: { originOf: (backend: string) => string | undefined; log: Logger; onLost: (spans: number) => void },
) {
  const { origin, pathname } = new URL(endpoint);
  const path = `${pathname.replace(/\/(v1\/traces\/?)?$/, '')}/v1/traces`;
  const client = createHttpClient({ service: 'The trace collector', baseUrl: origin, timeoutMs: 10_000 });
  const post = (json: unknown) =>
    // The same span twice is the same span.
    client.request({ method: 'POST', path, json, idempotent: true, headers: parseOtlpHeaders(headers?.read()) });
  let loading: Promise<TraceExporter> | undefined;
  const load = async () => (await import('./exporter.ts')).createTraceExporter({ ...parts, serviceName, post });
  return {
    add(record: CallRecord, trace: Trace) {
      loading ??= load();
      void loading.then((exporter) => exporter.add(record, trace));
    },
    async close() {
      await (await loading)?.close();
    },
  };
}
