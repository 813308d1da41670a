import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { watchJson, watchMultipart } from '../../../functions/completion-proxy/routing/body-watch.ts';
import { scanRequest } from '../../../functions/completion-proxy/routing/request-scan.ts';

const isRepeatedIn = (text: string, size: number, watch = watchJson()) => {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) if (watch(bytes.subarray(at, at + size))) return true;
  return false;
};

describe('a long body on its way', () => {
  it.each([
    ['{"model":"a","messages":["\\\\"],"model":"b"}', true],
    ['{"model":"a","x":"\\"model\\":","MODEL":"b"}', true],
    ['{"model":"a","x":["\\\\\\"","model"],"mode\\u006c":"b"}', true],
    ['{"stream":true,"stream":false}', true],
    ['{"model":"a","messages":[{"model":"b"},{"model":"c"}],"other":"model"}', false],
    ['{"model":"a","x":"\\\\\\",\\"model\\":\\"b"}', false],
    [`{"model":"a","${'x'.repeat(500)}":1,"models":2}`, false],
  ])('%s, cut anywhere, names something twice: %s', (text, expected) => {
    for (let size = 1; size <= text.length; size += 1) expect(isRepeatedIn(text, size), `by ${size}`).toBe(expected);
  });

  it('is judged as a short one is', () => {
    const names = fc.constantFrom('model', 'Model', 'stream', 'x', '\\', '"', 'mod"el', 'user');
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom('\\', '"', '\\"', 'model', '{"model":'));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(names, values), { maxLength: 5 }),
        fc.integer({ min: 1, max: 9 }),
        (members, size) => {
          const text = `{${members.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(', ')}}`;
          expect(isRepeatedIn(text, size)).toBe(scanRequest(Buffer.from(text)).ambiguous);
        },
      ),
    );
  });

  it('may be a form, whose field is found in every way that it is written', () => {
    const field = (name: string) => `--b\r\nContent-Disposition: form-data; ${name}\r\n\r\nx\r\n`;
    const file = field('name="file"; filename="model"');
    for (const second of ['name="model"', 'name=model', 'Name="model"', "name*=utf-8''model"]) {
      const text = field('name="model"') + file + field(second);
      for (let size = 1; size < text.length; size += 7) expect(isRepeatedIn(text, size, watchMultipart())).toBe(true);
      expect(scanRequest(Buffer.from(text), 'multipart/form-data; boundary=b').ambiguous).toBe(true);
    }
    const once = file + field('name="model"') + field('name="models"');
    for (let size = 1; size < once.length; size += 7) expect(isRepeatedIn(once, size, watchMultipart())).toBe(false);
    expect(scanRequest(Buffer.from(once), 'multipart/form-data; boundary=b')).toMatchObject({
      model: 'x',
      ambiguous: false,
    });
  });
});
