import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromWebhook } from '../../../../functions/lago-usage-push/calls/from-webhook.ts';
import { readPythonLiteral } from '../../../../functions/lago-usage-push/calls/python-literal.ts';
import { parseWebhookBody } from '../../../../functions/lago-usage-push/calls/webhook-body.ts';

describe('a webhook body', () => {
  test.each([
    ['an array', '[{"id":"a"},{"id":"b"}]'],
    ['one object a line', '{"id":"a"}\n{"id":"b"}\n'],
    ['lines with Windows ends and an empty one', '{"id":"a"}\r\n\r\n{"id":"b"}'],
    ['an array with nulls', '[null,{"id":"a"},null,{"id":"b"}]'],
    ['lines with nulls', 'null\n{"id":"a"}\n{"id":"b"}\nnull'],
  ])('is read as %s', (_, body) => {
    expect(parseWebhookBody(body)).toEqual([{ id: 'a' }, { id: 'b' }]);
  });

  test('is read as a single object, and as an array of nothing', () => {
    expect(parseWebhookBody('{"id":"a"}')).toEqual([{ id: 'a' }]);
    expect(parseWebhookBody('[]')).toEqual([]);
    expect(parseWebhookBody('null')).toEqual([]);
  });

  test.each(['', '  ', 'x', '[1]', '"text"', '[[]]', '{"id":"a"}\n{"id":', '{"id":"a"},{"id":"b"}'])(
    'is refused as %j',
    (body) => {
      expect(() => parseWebhookBody(body)).toThrow(expect.objectContaining({ status: 400, code: 'bad_webhook' }));
    },
  );

  test('comes through arrays and lines alike for any payloads', () => {
    const payloads = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(payloads, (items) => {
        const wire = items.map((item) => JSON.stringify(item));
        expect(parseWebhookBody(wire.join('\n'))).toEqual(parseWebhookBody(`[${wire.join(',')}]`));
      }),
    );
  });
});

describe('a payload', () => {
  const good = { id: 'a', response_cost: 0.1, startTime: 1763683200.5, model: 'gpt-4o' };

  test.each([
    ['no time', { ...good, startTime: undefined }],
    ['a time in words', { ...good, startTime: 'yesterday' }],
    ['an amount in words', { ...good, response_cost: 'much' }],
    ['tokens in words', { ...good, prompt_tokens: 'many' }],
    ['an id that is an object', { ...good, id: {} }],
  ])('with %s is refused, with its place', (_, payload) => {
    expect(() => fromWebhook(payload, 6)).toThrow(/^Item 7 of the webhook/);
  });

  test('needs no more than id, time and cost', () => {
    expect(fromWebhook(good, 0)).toMatchObject({ requestId: 'a', endUser: null, tokens: {}, isFailure: false });
  });

  test("takes the end user from the key's metadata where the payload names none", () => {
    const metadata = { user_api_key_end_user_id: 'acme', user_api_key_team_id: 't1' };
    expect(fromWebhook({ ...good, metadata }, 0)).toMatchObject({ endUser: 'acme', team: 't1' });
  });
});

describe("Python's text of a value", () => {
  test.each([
    ["{'a': None, 'b': [1, 2.5, -3e-07], 'c': (True, False)}", { a: null, b: [1, 2.5, -3e-7], c: [true, false] }],
    [`{'q': "it's", 'n': 'a\\nb\\\\', 'x': '\\x41\\u00e9\\U0001f600'}`, { q: "it's", n: 'a\nb\\', x: 'Aé😀' }],
    ['{}', {}],
    ['{1: 2, }', { 1: 2 }],
  ])('reads %s', (text, value) => {
    expect(readPythonLiteral(text)).toEqual(value);
  });

  test.each(["{'a': }", "{'a'", 'ModelResponse(id=1)', "{'a': 1} x", "'\\xzz'", '[1 2]', '['.repeat(5_000)])(
    'gives up on %.30s',
    (text) => {
      expect(readPythonLiteral(text)).toBeUndefined();
    },
  );

  test('ends for any text, and never throws', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void readPythonLiteral(text)));
  });

  test('keeps __proto__ a name like any other', () => {
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    readPythonLiteral("{'__proto__': {'polluted': True}}");
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
