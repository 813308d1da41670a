import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { createTraceExporter } from '../../../functions/completion-proxy/traces/exporter.ts';
import { parseOtlpHeaders } from '../../../functions/completion-proxy/traces/open.ts';
import { toSpan } from '../../../functions/completion-proxy/traces/span.ts';
import { isSampled, readTrace, toTraceparent } from '../../../functions/completion-proxy/traces/trace.ts';
import { makeRecord } from '../../support/call-record.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';

describe('the trace of a call', () => {
  it.each<[string, string]>([
    [`00-${traceId}-${parentId}-01`, '01'],
    [`00-${traceId}-${parentId}-00`, '00'],
    [`00-${traceId}-${parentId}-ff`, '03'],
    [`cc-${traceId}-${parentId}-01-what-comes-later`, '01'],
    [`01-${traceId}-${parentId}-01`, '01'],
  ])('is the one of %s, with a span of our own', (traceparent, flags) => {
    const trace = readTrace({ traceparent, tracestate: 'a=1,b=2' });
    expect(trace).toMatchObject({ traceId, parentId, flags, state: 'a=1,b=2' });
    expect(toTraceparent(trace)).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-${flags}$`));
    expect(trace.spanId).not.toBe(parentId);
    expect(isSampled(trace)).toBe(flags !== '00');
  });

  it.each([
    undefined,
    '',
    'nonsense',
    `ff-${traceId}-${parentId}-01`,
    `00-${'0'.repeat(32)}-${parentId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${parentId}-01`,
    `00-${traceId}-${parentId}-01-more`,
    `cc-${traceId}-${parentId}-01more`,
    `00-${traceId}-${parentId}-0`,
  ])('begins here where %s came, without the state of another', (traceparent) => {
    const trace = readTrace({ traceparent, tracestate: 'a=1' });
    expect(trace).toMatchObject({ parentId: undefined, flags: '01', state: undefined });
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(trace.traceId).not.toBe(traceId);
  });

  it('drops a state that is too long, and makes ids that never repeat', () => {
    const tracestate = Array.from({ length: 33 }, (_, index) => `k${index}=v`).join(',');
    expect(readTrace({ traceparent: `00-${traceId}-${parentId}-01`, tracestate }).state).toBeUndefined();
    const ids = new Set(Array.from({ length: 5_000 }, () => toTraceparent(readTrace({}))));
    expect(ids.size).toBe(5_000);
  });
});

describe('a span', () => {
  const trace = { traceId, parentId, spanId: 'a'.repeat(16), flags: '01', state: 's=1' };
  const valuesOf = (span: ReturnType<typeof toSpan>) =>
    Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

  it("has the names of OpenTelemetry's GenAI conventions and the numbers of the record", () => {
    const record = makeRecord('c', {
      model: 'claude-4',
      requested_model: 'claude',
      provider: 'anthropic',
      upstream_id: 'msg_1',
      path: '/v1/messages',
      stream: true,
      tokens: { input: 10, output: 2, cached_input: 100, cache_creation: 5 },
      first_byte_ms: 250,
      failed_attempts: [{ backend: 'x', failure: 'status', status: 503 }],
    });
    const span = toSpan(record, trace, 'https://api.anthropic.com');
    expect(span).toMatchObject({
      traceId,
      spanId: 'a'.repeat(16),
      parentSpanId: parentId,
      traceState: 's=1',
      name: 'chat claude',
      kind: 3,
      startTimeUnixNano: '1793491200000000000',
      endTimeUnixNano: '1793491201000000000',
      status: {},
    });
    expect(valuesOf(span)).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'claude',
      'gen_ai.request.stream': true,
      'gen_ai.response.model': 'claude-4',
      'gen_ai.response.id': 'msg_1',
      'gen_ai.response.time_to_first_chunk': 0.25,
      'gen_ai.usage.input_tokens': '115',
      'gen_ai.usage.output_tokens': '2',
      'gen_ai.usage.cache_read.input_tokens': '100',
      'server.address': 'api.anthropic.com',
      'server.port': '443',
      'http.response.status_code': '200',
      'completion_proxy.caller': 'tests',
    });
  });

  it('says why a call failed, and nothing of what was said', () => {
    const record = makeRecord('c', {
      outcome: 'timeout',
      status: 504,
      prompt: 'secret words',
      completion: 'more words',
    });
    const span = toSpan(record, { ...trace, parentId: undefined }, undefined);
    expect(span.status).toEqual({ code: 2, message: 'timeout' });
    expect(valuesOf(span)['error.type']).toBe('504');
    expect(span).not.toHaveProperty('parentSpanId');
    expect(JSON.stringify(span)).not.toContain('words');
  });
});

describe('the exporter of traces', () => {
  const sampled = () => readTrace({});
  function open(post: (body: unknown) => Promise<unknown>) {
    const lost: number[] = [];
    const lines: string[] = [];
    const exporter = createTraceExporter({
      serviceName: 'completion-proxy',
      post,
      originOf: () => undefined,
      log: createLogger({ write: (line) => lines.push(line) }),
      onLost: (spans) => lost.push(spans),
    });
    return { exporter, lines, lost: () => lost.reduce((sum, count) => sum + count, 0) };
  }
  const spansIn = (body: unknown) =>
    (body as { resourceSpans: { scopeSpans: { spans: unknown[] }[] }[] }).resourceSpans[0]!.scopeSpans[0]!.spans.length;

  it('sends batches of at most 512, without the calls that nobody samples', async () => {
    const sizes: number[] = [];
    const { exporter, lost } = open(async (body) => sizes.push(spansIn(body)));
    for (let id = 0; id < 1_100; id += 1) exporter.add(makeRecord(`c${id}`), sampled());
    exporter.add(makeRecord('quiet'), { ...sampled(), flags: '00' });
    await exporter.close();
    expect(Math.max(...sizes)).toBeLessThanOrEqual(512);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(1_100);
    expect(lost()).toBe(0);
  });

  it('gives up and counts what a collector does not take, and says so once', async () => {
    const { exporter, lost, lines } = open(() => Promise.reject(new Error('down')));
    for (let id = 0; id < 1_000; id += 1) exporter.add(makeRecord(`c${id}`), sampled());
    await exporter.close();
    expect(lost()).toBe(1_000);
    expect(lines).toHaveLength(1);
  });

  it('holds 4096 spans and no more while a collector is slow', async () => {
    let letGo = () => {};
    const slow = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let sent = 0;
    const { exporter, lost } = open(async (body) => {
      await slow;
      sent += spansIn(body);
    });
    for (let id = 0; id < 6_000; id += 1) exporter.add(makeRecord(`c${id}`), sampled());
    expect(lost()).toBe(6_000 - 4_096 - 512);
    letGo();
    await exporter.close();
    expect(sent).toBe(4_096 + 512);
  });

  it('reads its fields as OTEL_EXPORTER_OTLP_HEADERS is written', () => {
    expect(parseOtlpHeaders(' api-key=a=b , x=1%202,bad=%zz,nothing')).toEqual({
      'api-key': 'a=b',
      x: '1 2',
      bad: '%zz',
    });
    expect(parseOtlpHeaders(undefined)).toEqual({});
  });

  it('is our own, as the notices and the metrics are: no SDK of theirs is among the packages', () => {
    const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8'));
    expect(Object.keys(dependencies)).toContain('undici');
    expect(Object.keys(dependencies).join(' ')).not.toMatch(/opentelemetry|honeybadger|prom-client|pino|winston/);
  });

  it('is loaded with the first span only: no file imports it at start', () => {
    const folder = join(import.meta.dirname, '../../../functions/completion-proxy');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const importing = files.filter((file) =>
      /^import (?!type)[^;]*\/(exporter|span)\.ts'/m.test(readFileSync(join(folder, file), 'utf8')),
    );
    expect(importing).toEqual(['traces/exporter.ts']);
  });
});
