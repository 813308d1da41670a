import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonRowsError, parseJsonRows } from '#shared/clients/json-rows.ts';

async function* inPieces(text: string | Buffer, sizes: number[]) {
  const bytes = Buffer.from(text);
  for (let start = 0, index = 0; start < bytes.length; index++) {
    const end = start + Math.max(1, sizes[index % sizes.length]!);
    yield bytes.subarray(start, end);
    start = end;
  }
}

async function collect(text: string | Buffer, sizes: number[] = [7], options?: { maxRowBytes?: number }) {
  const rows: unknown[] = [];
  for await (const found of parseJsonRows(inPieces(text, sizes), options)) rows.push(...found);
  return rows;
}

describe('rows of a JSON array', () => {
  it('are those of JSON.parse, whatever the values and wherever the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.jsonValue()),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        fc.constantFrom(0, 2),
        async (values, sizes, indent) => {
          const text = JSON.stringify(values, null, indent);
          expect(await collect(text, sizes)).toEqual(JSON.parse(text));
        },
      ),
    );
  });

  it('are right where a nested row or a text looks like the beginning of the next one', async () => {
    const trap = '"},{"request_id":"';
    const values = Array.from({ length: 40 }, (_, index) => ({
      request_id: `chatcmpl-${index} ${trap} \\ é 漢`,
      metadata: { nested: [{ request_id: 'inner' }, { request_id: trap }] },
      spend: index / 1e9,
    }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 4 }), async (sizes) => {
        expect(await collect(JSON.stringify(values), sizes)).toEqual(values);
      }),
    );
  });

  it.each(['{"error":{"message":"no"}}', '<!doctype html><title>502</title>', '17'])('are not in %s', async (text) => {
    await expect(collect(text)).rejects.toMatchObject({ name: 'JsonRowsError', isCut: false });
  });

  it.each(['[{"request_id":"1"},{"request_id":"2"}', '[{"request_id":"1"', '[', '', '[{"a":"\\'])(
    'are cut in %j',
    async (text) => {
      await expect(collect(text)).rejects.toMatchObject({ isCut: true });
    },
  );

  it.each(['[1][2]', '[1] x', '[1,,2]', '[{"a":1}}]', '[{"request_id":tru}]'])('are broken in %s', async (text) => {
    await expect(collect(text, [3])).rejects.toBeInstanceOf(JsonRowsError);
    await expect(collect(text, [100])).rejects.toMatchObject({ isCut: false });
  });

  it('may not be larger than the limit', async () => {
    const text = JSON.stringify([{ request_id: '1', response: 'x'.repeat(5_000_000) }]);
    await expect(collect(text, [65_536], { maxRowBytes: 2_000_000 })).rejects.toThrow('longer than 2000000 bytes');
    expect(await collect(text, [65_536])).toHaveLength(1);
  });
});
