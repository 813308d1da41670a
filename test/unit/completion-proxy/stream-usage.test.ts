import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageEventFilter } from '../../../functions/completion-proxy/road/usage-event.ts';
import { withStreamUsage } from '../../../functions/completion-proxy/routing/stream-usage.ts';

describe('the wish for usage in a body', () => {
  it.each<[string, string]>([
    ['{"model":"m"}', '{"stream_options":{"include_usage":true},"model":"m"}'],
    [' { "model":"é" }', ' {"stream_options":{"include_usage":true}, "model":"é" }'],
    ['{ }', '{"stream_options":{"include_usage":true} }'],
    ['{"stream_options":null,"n":1.0}', '{"stream_options":{"include_usage":true},"n":1.0}'],
    ['{"stream_options":{}}', '{"stream_options":{"include_usage":true}}'],
    ['{"stream_options":{ "x":1}}', '{"stream_options":{"include_usage":true, "x":1}}'],
    [
      '{"a":2,"stream_options":{"x":[{}],"include_usage":false }}',
      '{"a":2,"stream_options":{"x":[{}],"include_usage":true }}',
    ],
    ['{"stream_options":{"include_usage":null}}', '{"stream_options":{"include_usage":true}}'],
  ])('of %s is %s', (given, expected) => {
    expect(withStreamUsage(Buffer.from(given))?.toString()).toBe(expected);
  });

  it.each([
    '{"stream_options":{"include_usage":true}}',
    '{"stream_options":{"include_usage":"yes"}}',
    '{"stream_options":{"include_usage":false,"include_usage":true}}',
    '{"stream_options":1}',
    '{"stream_options":{},"stream_options":{}}',
    'no json',
  ])('is not added to %s', (given) => expect(withStreamUsage(Buffer.from(given))).toBeUndefined());

  it('asks, and changes nothing else that JSON.parse can see', () => {
    const options = fc.oneof(
      fc.constant(null),
      fc.record({ include_usage: fc.constantFrom(false, null) }),
      fc.constant({}),
    );
    const bodies = fc.tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.option(options, { nil: undefined }));
    fc.assert(
      fc.property(bodies, fc.nat(3), ([members, given], indent) => {
        const { stream_options: _, ...rest } = members;
        fc.pre(!Object.keys(rest).some((name) => ['stream_options', '__proto__'].includes(name.toLowerCase())));
        const body = given === undefined ? rest : { ...rest, stream_options: given };
        const asked = withStreamUsage(Buffer.from(JSON.stringify(body, undefined, indent)));
        const wanted = { ...body, stream_options: { ...(given ?? {}), include_usage: true } };
        expect(JSON.parse(asked!.toString())).toEqual(JSON.parse(JSON.stringify(wanted)));
      }),
    );
  });
});

const data = (value: object, eol = '\n') => `data: ${JSON.stringify(value)}${eol}${eol}`;
const usage = { prompt_tokens: 2, completion_tokens: 3 };
const trap = 'He said "choices":[], "usage":{"prompt_tokens":1} and \n\n left';
const text = { id: 'c', choices: [{ delta: { content: trap } }], usage: null };
const azure = { id: '', choices: [], prompt_filter_results: [], usage: null };
const told = { id: 'c', choices: [], usage };

const streams: [name: string, whole: string, cleaned: string][] = [
  ...['\n', '\r\n', '\r'].map((eol): [string, string, string] => [
    `with ${JSON.stringify(eol)}`,
    `: ping${eol}${eol}${data(azure, eol)}${data(text, eol)}${data(told, eol)}data: [DONE]${eol}${eol}`,
    `: ping${eol}${eol}${data(azure, eol)}${data(text, eol)}data: [DONE]${eol}${eol}`,
  ]),
  ['with spaces', `data: {"choices": [], "usage": {"prompt_tokens": 1}}\n\ndata: [DONE]\n\n`, 'data: [DONE]\n\n'],
  ['that ends with it, without a blank line', data(text) + data(told).trimEnd(), data(text)],
  ['whose last choice has the usage', data({ ...text, usage }), data({ ...text, usage })],
  ['that breaks off', `${data(text)}data: {"choices":[],"usa`, `${data(text)}data: {"choices":[],"usa`],
  ['that is no JSON', 'data: "choices":[]\n\nhello', 'data: "choices":[]\n\nhello'],
];

function pass(pieces: Buffer[]) {
  const filter = new UsageEventFilter();
  const passed = pieces.map((piece) => filter.take(piece).toString());
  return [...passed, filter.end().toString()].join('');
}

describe('the usage chunk of a caller who did not ask', () => {
  it.each(streams)('is taken out of a stream %s, cut at every byte', (_name, whole, cleaned) => {
    const bytes = Buffer.from(whole);
    expect(pass([bytes])).toBe(cleaned);
    for (let at = 1; at < bytes.length; at += 1)
      expect(pass([bytes.subarray(0, at), bytes.subarray(at)])).toBe(cleaned);
    expect(pass([...bytes].map((byte) => Buffer.from([byte])))).toBe(cleaned);
  });

  it('holds back no whole event, wherever the stream was cut', () => {
    const events = [data(text), data(azure), data(text), data(told), 'data: [DONE]\n\n'];
    const bytes = Buffer.from(events.join(''));
    const filter = new UsageEventFilter();
    let passed = '';
    for (let at = 0; at < bytes.length; at += 1) {
      passed += filter.take(bytes.subarray(at, at + 1)).toString();
      const whole = bytes.subarray(0, at + 1).toString('utf8');
      const complete = whole.slice(0, whole.lastIndexOf('\n\n') + 2 || 0).replace(data(told), '');
      if (whole.includes('\n\n')) expect(passed).toBe(complete);
    }
    expect(passed).toBe(events.filter((event) => event !== data(told)).join(''));
  });

  it('lets a picture through as it comes, and still takes out the usage after it', () => {
    const picture = data({ choices: [{ delta: { image: 'A'.repeat(200_000) } }] });
    const bytes = Buffer.from(picture + data(told) + data(text));
    const filter = new UsageEventFilter();
    let passed = '';
    for (let at = 0; at < bytes.length; at += 10_000) {
      passed += filter.take(bytes.subarray(at, at + 10_000)).toString();
      if (at >= 70_000 && at < 190_000) expect(passed.length).toBe(at + 10_000);
    }
    expect(passed + filter.end().toString()).toBe(picture + data(text));
  });
});
