import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SpendRow } from '#shared/clients/litellm.ts';
import { parseSpendRow } from '#shared/clients/litellm-row.ts';
import { formatUsd } from '#shared/money.ts';
import { columns } from '../../../functions/llm-global-spend/cells/cell.ts';
import { createRowFold } from '../../../functions/llm-global-spend/cells/row-fold.ts';
import { createDayOf } from '../../../functions/llm-global-spend/days.ts';
import { createReportFold } from '../../../functions/llm-global-spend/report/fold.ts';
import { type Dimension, dimensions } from '../../../functions/llm-global-spend/report/query.ts';

const some = (...values: (string | null)[]) => fc.constantFrom(...values);
const row: fc.Arbitrary<SpendRow> = fc
  .record({
    request_id: fc.uuid(),
    api_key: some('', 'k1', 'k2'),
    spend: fc.oneof(fc.double({ min: 0, max: 1_000, noNaN: true }), fc.constantFrom(7.5e-8, 0.1, 0.2, 1e-12, 5e-13)),
    total_tokens: fc.nat(9_000),
    prompt_tokens: fc.nat(9_000),
    completion_tokens: fc.nat(9_000),
    startTime: fc
      .date({ min: new Date('2026-10-01T00:00:00Z'), max: new Date('2026-11-30T00:00:00Z'), noInvalidDate: true })
      .map((date) => date.toISOString()),
    model: some('', 'gpt-4o', 'constructor', '__proto__'),
    custom_llm_provider: some(null, 'openai'),
    user: some('', 'alice', 'bob'),
    team_id: some(null, 'a', 'b'),
    end_user: some(null, 'acme'),
    request_tags: fc.uniqueArray(fc.constantFrom('x', 'y', 'x\ny', '["x"]')),
  })
  .map((wire) => parseSpendRow({ ...wire, endTime: wire.startTime }));

const groupings = fc.uniqueArray(fc.constantFrom<Dimension>(...dimensions), { maxLength: 2 });

function foldRows(rows: SpendRow[], groupBy: Dimension[], limit?: number) {
  const needed = columns.filter((column) => (groupBy as string[]).includes(column));
  const days = createRowFold({ columns, needed, dayOf: createDayOf('UTC'), ...(limit === undefined ? {} : { limit }) });
  // In pieces, as they stream in.
  for (let index = 0; index < rows.length; index += 7) days.add(rows.slice(index, index + 7));
  const report = createReportFold(groupBy, {});
  for (const day of days.finish()) report.add(day);
  return report.finish();
}

const sum = (items: { spend: bigint }[]) => items.reduce((total, { spend }) => total + spend, 0n);

describe('groups', () => {
  it('sum to the total and to the rows, exactly, for any rows and any grouping', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 60 }), groupings, (rows, groupBy) => {
        const { total, groups } = foldRows(rows, groupBy);
        expect(total.spend).toBe(sum(rows));
        expect(total.requests).toBe(rows.length);
        if (groupBy.length === 0 || groupBy.includes('tag')) return;
        expect(sum(groups)).toBe(total.spend);
        expect(groups.reduce((requests, group) => requests + (group.requests ?? 0), 0)).toBe(rows.length);
        expect(new Set(groups.map(({ ids }) => ids.join('\0'))).size).toBe(groups.length);
      }),
    );
  });

  it('by tag have each request once for each of its tags, and once without any', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), (rows) => {
        for (const { ids, spend } of foldRows(rows, ['tag']).groups) {
          const tagged = rows.filter(({ tags }) => (ids[0] === '' ? tags.length === 0 : tags.includes(ids[0]!)));
          expect(spend).toBe(sum(tagged));
        }
      }),
    );
  });

  it('are the same when there are too many cells to keep every column', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 60 }), groupings, (rows, groupBy) => {
        expect(foldRows(rows, groupBy, 5)).toEqual(foldRows(rows, groupBy));
      }),
    );
  });

  it('of more than 50,000 combinations in a day keep what the query needs, and no more', () => {
    const days = createRowFold({ columns, needed: ['model'], dayOf: createDayOf('UTC') });
    const rowOf = (id: number) =>
      parseSpendRow({
        request_id: `r${id}`,
        end_user: `customer ${id}`,
        model: id % 2 ? 'odd' : 'even',
        spend: 0.000001,
        startTime: '2026-11-01T10:00:00Z',
        endTime: '2026-11-01T10:00:01Z',
      });
    days.add(Array.from({ length: 50_000 }, (_, id) => rowOf(id)));
    expect(days.finish()[0]).toMatchObject({ columns });
    days.add([rowOf(50_000)]);
    const [day] = days.finish();
    expect(day?.columns).toEqual(['model']);
    expect(day?.cells.map(({ values, requests, spend }) => [values[0], requests, formatUsd(spend)]).sort()).toEqual([
      ['even', 25_001, '0.025001'],
      ['odd', 25_000, '0.025'],
    ]);
  });

  it('do not depend on the order of rows', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 30 }), groupings, (rows, groupBy) => {
        expect(foldRows(rows.toReversed(), groupBy)).toEqual(foldRows(rows, groupBy));
      }),
    );
  });

  it('of filters are those of the rows that match every one', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), (rows) => {
        const days = createRowFold({ columns, needed: [], dayOf: createDayOf('UTC') });
        days.add(rows);
        const report = createReportFold(['user'], { tag: new Set(['x']), team: new Set(['a', '']) });
        for (const day of days.finish()) report.add(day);
        const kept = rows.filter(({ tags, teamId }) => tags.includes('x') && teamId !== 'b');
        expect(report.finish().total.spend).toBe(sum(kept));
      }),
    );
  });
});
