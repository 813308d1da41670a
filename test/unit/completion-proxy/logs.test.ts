import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { FunctionEvent } from '#shared/http/function.ts';
import { createJournal } from '../../../functions/completion-proxy/journal.ts';
import { keepText, readStreamText } from '../../../functions/completion-proxy/records/content.ts';
import { answerLogs } from '../../../functions/completion-proxy/records/logs-route.ts';
import { plainJson } from '../../../functions/completion-proxy/records/redact.ts';

function open() {
  const time = { now: 1_000 };
  const journal = createJournal({ logsLines: 100, historyLines: 100, now: () => time.now });
  const gone = new AbortController();
  const ask = (search: string, accept?: string) => {
    const event = { query: new URLSearchParams(search), headers: { accept } } as unknown as FunctionEvent;
    return answerLogs(event, gone.signal, journal, time.now);
  };
  return { time, journal, ask, gone };
}

const read = async (body: unknown) => {
  let text = '';
  for await (const piece of body as Readable) text += piece;
  return text;
};

describe('GET /logs', () => {
  it.each([
    ['debug', 4],
    ['info', 4],
    ['WARN', 2],
    ['Warning', 2],
    ['error', 1],
    ['CRITICAL', 1],
  ])('shows the lines of level %s and above', async (level, count) => {
    const { journal, ask } = open();
    journal.end(journal.begin('::1', 'a', 'GET', '/x'), 200);
    journal.log('WARNING', '::1', 'a', 'mind');
    journal.log('ERROR', '::1', 'a', 'oh');
    expect(
      String(ask(`level=${level}`).body)
        .trim()
        .split('\n'),
    ).toHaveLength(count);
    expect(JSON.parse(String(ask(`level=${level}&format=json`).body)).lines).toHaveLength(count);
    const lines = (await read(ask(`level=${level}`, 'application/x-ndjson').body)).trim().split('\n');
    expect(lines).toHaveLength(count);
    expect(JSON.parse(lines.at(-1)!)).toEqual({
      time: '1970-01-01T00:00:01.000Z',
      level: 'ERROR',
      origin: '::1',
      call_id: 'a',
      message: 'oh',
    });
  });

  it('shows what came since a time', () => {
    const { journal, ask, time } = open();
    journal.log('INFO', '::1', 'a', 'old');
    time.now = 200_000;
    journal.log('INFO', '::1', 'b', 'new');
    expect(String(ask('since=1m').body)).toMatch(/^\S+ \[INFO\] \[::1\] \[b\] new\n$/);
    expect(String(ask('since=1970-01-01').body).split('\n')).toHaveLength(3);
  });

  it.each([
    ['follow=true&format=ndjson', ''],
    ['format=sse', 'data: '],
  ])('goes on with new lines for %s', async (search, prefix) => {
    const { journal, ask, gone } = open();
    journal.log('ERROR', '::1', 'a', 'before');
    const reading = read(ask(`${search}&level=warning`).body).catch(() => undefined);
    const body = ask(`${search}&level=warning`).body as Readable;
    const pieces: string[] = [];
    body.on('data', (piece) => pieces.push(String(piece)));
    body.on('error', () => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    journal.end(journal.begin('::1', 'b', 'GET', '/quiet'), 200);
    journal.end(journal.begin('::1', 'c', 'GET', '/bad\n'), 500);
    await new Promise((resolve) => setImmediate(resolve));
    const values = pieces
      .join('')
      .split('\n')
      .filter((line) => line.startsWith(`${prefix}{`));
    expect(values.map((line) => JSON.parse(line.slice(prefix.length)).call_id)).toEqual(['a', 'c']);
    const closed = new Promise((resolve) => body.once('close', resolve));
    gone.abort();
    await closed;
    await reading;
  });

  it.each([
    'level=loud',
    'since=later',
    'follow=maybe',
    'follow=true',
    'follow=true&format=json',
    'limit=1',
    'format=xml',
  ])('refuses %s', (search) => {
    const { ask } = open();
    expect(() => ask(search)).toThrow(expect.objectContaining({ status: 400, code: 'invalid_parameter' }));
  });
});

describe('what is kept of prompts and answers', () => {
  it('is nothing in the text of history, unless it is wished', () => {
    const { journal } = open();
    const entry = { timestamp: 't', origin: '::1', latency: 1, prompt: 'hush', completion: 'hush', request_id: 'r' };
    journal.remember(entry);
    expect(JSON.parse(journal.history())).toEqual({ ...entry, prompt: null, completion: null });
    const full = createJournal({ logsLines: 1, historyLines: 1, content: { maxBytes: 9, redact: [/sk-\w+/gu] } });
    full.remember({ ...entry, prompt: 'my sk-abcdef key' });
    expect(JSON.parse(full.history())).toMatchObject({ prompt: 'my [redac', completion: 'hush' });
  });

  it('has no half of what a pattern matches across the cut, and no half character', () => {
    const rule = { maxBytes: 20, redact: [/sk-[a-z]{10}/gu] };
    expect(keepText(`0123456789012 sk-abcdefghij`, rule)).toBe('0123456789012 [redac');
    expect(keepText('0123456789012345678é', rule)).toBe('0123456789012345678');
    expect(keepText('short', rule)).toBe('short');
  });

  it('is nothing of a text that a pattern would be at for ever', () => {
    const rule = { maxBytes: 1_000, redact: [/^(\w+\s?)*$/gu] };
    expect(keepText(`${'a'.repeat(60)}!`, rule)).toMatch(/^\[not kept: /);
    expect(keepText('fine', rule)).toBe('[redacted]');
  });

  it('is without what a pattern matches also where the client sent it as escapes', () => {
    const redact = [/Müller/gu, /https:\/\/in\.example/gu];
    const sent = '{"a":"M\\u00fcller \\\\u00fc \\"\\n\\ud83d\\ude00 https:\\/\\/in.example \\u0000\\u0022"}';
    const kept = keepText(plainJson(sent), { maxBytes: 1_000, redact });
    expect(JSON.parse(kept)).toEqual({ a: '[redacted] \\u00fc "\n😀 [redacted] \u0000"' });
  });

  it('is what tools were called with, and each of several answers, in one piece', () => {
    const sse = (...events: unknown[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
    const call = (index: number, input: string, name?: string) => ({
      choices: [{ index: 0, delta: { tool_calls: [{ index, function: { name, arguments: input } }] } }],
    });
    const calls = [call(0, '', 'look'), call(0, '{"key":"sk-'), call(1, '{}', 'other'), call(0, 'abc"}')];
    expect(readStreamText('chat', 'sse', sse(...calls))).toBe('look{"key":"sk-abc"}\nother{}');
    const two = ['a', 'b', 'c', 'd'].map((content, at) => ({ choices: [{ index: at % 2, delta: { content } }] }));
    expect(readStreamText('chat', 'sse', sse(...two))).toBe('ac\nbd');
    const thought = [{ delta: { reasoning_content: 'hm' } }, { delta: { content: 'yes' } }];
    expect(readStreamText('chat', 'sse', sse(...thought.map((choice) => ({ choices: [choice] }))))).toBe('hm\nyes');
    const used = [
      { type: 'content_block_start', index: 1, content_block: { type: 'tool_use', name: 'look' } },
      { type: 'content_block_delta', index: 1, delta: { partial_json: '{"key":' } },
      { type: 'content_block_delta', index: 1, delta: { partial_json: '1}' } },
    ];
    expect(readStreamText('anthropic', 'sse', sse(...used))).toBe('look{"key":1}');
    const told = ['{"key"', ':1}'].map((delta) => ({ type: 'response.function_call_arguments.delta', delta }));
    expect(readStreamText('responses', 'sse', sse(...told))).toBe('{"key":1}');
  });

  it('is the words of a stream, so that a pattern finds what came in pieces', () => {
    const chat = ['sk-', 'abc'].map((content) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`);
    expect(readStreamText('chat', 'sse', `: ping\n\n${chat.join('')}data: [DONE]\n\n`)).toBe('sk-abc');
    const deltas = ['a', 'b'].map((text) => `event: x\r\ndata: ${JSON.stringify({ delta: { text } })}\r\n\r\n`);
    expect(readStreamText('anthropic', 'sse', deltas.join(''))).toBe('ab');
    expect(readStreamText('ollama', 'ndjson', '{"response":"a"}\n{"message":{"content":"b"}}\n{"resp')).toBe('ab');
    const told = ['a', 'b'].map(
      (delta) => `data: ${JSON.stringify({ type: 'response.output_text.delta', delta })}\n\n`,
    );
    expect(readStreamText('responses', 'sse', told.join(''))).toBe('ab');
    expect(readStreamText('chat', 'sse', 'data: {"choices":[{"delta":{"tool_calls":[]}}]}\n\n')).toContain(
      'tool_calls',
    );
  });
});
