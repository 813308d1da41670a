import { describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { createReporter } from '../../../functions/completion-proxy/alerts/reporter.ts';

interface Notice {
  error: { class: string; message: string; backtrace: { file: string; number: string; method: string }[] };
  request: { action: string; url?: string; context: Record<string, unknown> };
  server: { environment_name: string };
}

function open({ redact = [], fails = false }: { redact?: RegExp[]; fails?: boolean } = {}) {
  const notices: Notice[] = [];
  const last: Notice[] = [];
  const lines: string[] = [];
  const time = { now: 0 };
  const reporter = createReporter({
    post: async (notice) => {
      notices.push(notice as Notice);
      if (fails) throw new Error('down');
      return 'n-1';
    },
    postNow: (notice) => last.push(notice as Notice),
    frame: { environment: 'test', hostname: 'h', pid: 1 },
    redact,
    log: createLogger({ write: (line) => lines.push(line) }),
    now: () => time.now,
  });
  const log = createLogger({ level: 'error', write: (line) => reporter.take(line) });
  const dying = createLogger({ level: 'error', write: (line) => reporter.takeLast(line) });
  return { reporter, log, dying, notices, last, lines, time };
}

describe('notices of errors', () => {
  it('tell class, message, backtrace and the fields of the log, without secrets and patterns', async () => {
    const { log, notices, reporter } = open({ redact: [/sk-\w+/gu] });
    const fields = {
      call_id: 'c',
      path: '/v1/x',
      authorization: 'Bearer planted',
      error: new TypeError('bad sk-abc123'),
    };
    log.error('call failed', fields);
    await reporter.close();
    expect(notices[0]).toMatchObject({
      error: { class: 'TypeError', message: 'call failed: bad [redacted]' },
      request: { action: 'call failed', url: '/v1/x', context: { call_id: 'c', authorization: '[redacted]' } },
      server: { environment_name: 'test' },
    });
    expect(notices[0]!.error.backtrace[0]).toMatchObject({ file: expect.stringContaining('alerts.test.ts') });
    expect(JSON.stringify(notices)).not.toMatch(/planted|sk-abc/);
  });

  it('are notices still where a pattern matches digits, quotes and braces, and the call that failed goes on', async () => {
    const { log, dying, notices, last, reporter } = open({ redact: [/\d+/gu, /["{}]/gu] });
    log.error('call 7 failed', { status: 502, path: '/v1/9', error: new Error('{"code": 12}') });
    dying.error('uncaught 8', { error: new Error('8') });
    await reporter.close();
    expect(notices[0]).toMatchObject({
      error: { message: expect.stringMatching(/^call \[redacted\] failed: \[redacted\]/) },
      request: { context: { status: 502, level: 'error' } },
      server: { time: expect.stringMatching(/^\d{4}-/) },
    });
    expect(last).toHaveLength(1);
  });

  it('are sent once an error, also when the process dies of one that a call told', () => {
    const { log, dying, notices, last } = open();
    const error = new Error('once');
    log.error('call failed', { call_id: 'c', error });
    log.error('close failed', { call_id: 'c', error });
    dying.error('uncaught exception', { error });
    expect(notices).toHaveLength(1);
    expect(last).toHaveLength(0);
    dying.error('uncaught exception', { error: new Error('twice') });
    expect(last.map(({ error: { message } }) => message)).toEqual(['uncaught exception: twice']);
  });

  it('of a line without an error are one a minute, and one for each call', () => {
    const { log, notices, time } = open();
    log.error('the store is down');
    log.error('the store is down');
    log.error('call failed', { call_id: 'a' });
    log.error('call failed', { call_id: 'b' });
    expect(notices).toHaveLength(3);
    time.now = 61_000;
    log.error('the store is down');
    expect(notices).toHaveLength(4);
  });

  it('are twenty a minute, and the next one tells how many there would have been', () => {
    const { log, notices, time } = open();
    for (let id = 0; id < 50; id += 1) log.error('call failed', { call_id: id });
    expect(notices).toHaveLength(20);
    time.now = 60_000;
    log.error('call failed', { call_id: 'next' });
    expect(notices[20]!.request.context.notices_not_sent_before).toBe(30);
  });

  it('that nobody takes are told once in the log, and disturb nobody', async () => {
    const { log, reporter, lines } = open({ fails: true });
    log.error('one');
    log.error('two');
    await reporter.close();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"warn"');
  });
});
