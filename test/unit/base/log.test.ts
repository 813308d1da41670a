import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger, parseLogLevel } from '#shared/log.ts';

function makeLog(level?: 'debug' | 'info' | 'warn' | 'error') {
  const lines: string[] = [];
  const now = () => new Date('2026-01-02T03:04:05.678Z');
  const log = createLogger({ write: (line) => lines.push(line), now, ...(level === undefined ? {} : { level }) });
  return { log, lines, fields: () => lines.map((line) => JSON.parse(line)) };
}

describe('log', () => {
  it('writes one JSON line with time, level, message and the fields of its parents', () => {
    const { log, lines } = makeLog();
    log.child({ call_id: 'c-1' }).info('call', { status: 200 });
    expect(lines).toEqual([
      '{"time":"2026-01-02T03:04:05.678Z","level":"info","msg":"call","call_id":"c-1","status":200}\n',
    ]);
  });

  it('cannot be made to write a line of the caller, by message or field', () => {
    const { log, lines } = makeLog();
    const forged = 'x\r\n{"time":"now","level":"error","msg":"forged"}';
    log.info(forged, { path: forged, [forged]: 1 });
    expect(lines).toHaveLength(1);
    expect(lines[0]!.trimEnd()).not.toMatch(/[\r\n]/);
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'info', msg: forged });
  });

  it('writes whatever fields there are as JSON would', () => {
    const name = fc.oneof(
      fc.constantFrom('path', 'status', 'msg', 'level'),
      fc.stringMatching(/^[a-f"\\\n\u00e9 ]{0,5}$/),
    );
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ minLength: 190, maxLength: 210 }));
    const value = fc.oneof(text, fc.double(), fc.boolean(), fc.constantFrom(null, undefined), fc.array(fc.integer()));
    const some = fc.dictionary(name, value, { maxKeys: 5, noNullPrototype: true });
    fc.assert(
      fc.property(some, some, text, (parents, fields, message) => {
        const { log, lines } = makeLog();
        log.child(parents).info(message, fields);
        const head = { time: '2026-01-02T03:04:05.678Z', level: 'info', msg: message };
        expect(JSON.parse(lines[0]!)).toEqual(JSON.parse(JSON.stringify({ ...head, ...parents, ...fields })));
      }),
    );
  });

  it('names no field twice', () => {
    const { log, lines } = makeLog();
    log.child({ path: '/a' }).info('call', { path: '/b', msg: 'other' });
    expect(lines).toEqual(['{"time":"2026-01-02T03:04:05.678Z","level":"info","msg":"other","path":"/b"}\n']);
  });

  it.each(['Authorization', 'set-cookie', 'password', 'openai-api-key', 'apiKey', 'access_token', 'token', 'jwt'])(
    'redacts a field named %s at any depth',
    (name) => {
      const { log, lines } = makeLog();
      log.info('x', { [name]: 'hush', inner: [{ [name]: { deep: 'hush' } }] });
      expect(lines[0]).not.toContain('hush');
      expect(lines[0]).toContain('[redacted]');
    },
  );

  it('keeps counts of tokens, which are no secrets', () => {
    const { log, fields } = makeLog();
    log.info('usage', { input_tokens: 3, tokens: { output: 4 } });
    expect(fields()[0]).toMatchObject({ input_tokens: 3, tokens: { output: 4 } });
  });

  it('stays below the 64 KiB that of-watchdog reads, counted in bytes', () => {
    const { log, lines, fields } = makeLog();
    log.info('é'.repeat(100_000), { text: 'é'.repeat(100_000) });
    log.warn('many', Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`f${index}`, 'é'.repeat(4_000)])));
    for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThan(64 * 1024);
    expect(fields()[1]).toMatchObject({ level: 'warn', msg: 'many', cut: true });
  });

  it('shows errors with their causes, and survives what goes round in circles', () => {
    const { log, fields } = makeLog();
    const round: Record<string, unknown> = {};
    round.self = round;
    log.error('failed', { error: new Error('outer', { cause: new Error('inner') }), round, big: 10n });
    expect(fields()[0]).toMatchObject({ error: { message: 'outer', cause: { message: 'inner' } }, big: '10' });
  });

  it('is silent below its level', () => {
    const { log, fields } = makeLog('warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(fields().map(({ msg }) => msg)).toEqual(['c', 'd']);
  });

  it('reads levels in any case and by their other names', () => {
    expect(['INFO', ' Warning ', 'critical', 'loud', 'constructor'].map(parseLogLevel)).toEqual([
      ...['info', 'warn', 'error', undefined, undefined],
    ]);
  });
});
