import type { Logger } from '#shared/log.ts';
import type { CallRecord } from '../records/record.ts';
import { toAttributes, toSpan } from './span.ts';
import { isSampled, type Trace } from './trace.ts';

export interface TraceExporterOptions {
  serviceName: string;
  /** Posts one request of OTLP's JSON; throws where nobody took it. */
  post: (body: unknown) => Promise<unknown>;
  originOf: (backend: string) => string | undefined;
  log: Logger;
  /** Told of spans that were given up. */
  onLost: (spans: number) => void;
  everyMs?: number;
}

export interface TraceExporter {
  add(record: CallRecord, trace: Trace): void;
  close(): Promise<void>;
}

const batchSize = 512;
/** What waits; beyond it new spans are given up. */
const maxWaiting = 4_096;

/** Sends the spans of sampled calls in batches, behind the calls' backs. A batch that nobody takes is given up. */
export function createTraceExporter(options: TraceExporterOptions): TraceExporter {
  const { serviceName, post, originOf, log, onLost, everyMs = 5_000 } = options;
  const resource = { attributes: toAttributes({ 'service.name': serviceName }) };
  let waiting: ReturnType<typeof toSpan>[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;
  let isDown = false;

  async function sendAll() {
    while (waiting.length > 0) {
      const spans = waiting.slice(0, batchSize);
      waiting = waiting.slice(batchSize);
      try {
        await post({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'completion-proxy' }, spans }] }] });
        isDown = false;
      } catch (error) {
        onLost(spans.length);
        if (!isDown) log.warn('traces are given up: the collector does not take them', { error });
        isDown = true;
      }
    }
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    sending ??= sendAll().finally(() => {
      sending = undefined;
    });
    return sending;
  }

  return {
    add(record, trace) {
      if (!isSampled(trace)) return;
      if (waiting.length >= maxWaiting) return onLost(1);
      waiting.push(toSpan(record, trace, originOf(record.backend)));
      if (waiting.length >= batchSize) void flush();
      else timer ??= setTimeout(() => void flush(), everyMs).unref();
    },
    async close() {
      await flush();
      await flush();
    },
  };
}
