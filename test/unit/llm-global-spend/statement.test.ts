import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { formatUsd, parseUsd } from '#shared/money.ts';
import { openStore } from '#shared/store/open.ts';
import { createPostgresEngine } from '#shared/store/postgres.ts';
import { createStore, type Store } from '#shared/store/store.ts';
import {
  type Figures,
  readFigures,
  toAdjustments,
  toChecksum,
} from '../../../functions/llm-global-spend/statement/figures.ts';
import { createStatements, lastMonth, parseMonth } from '../../../functions/llm-global-spend/statement/issue.ts';
import { toStatementCsv } from '../../../functions/llm-global-spend/statement/render.ts';
import { createFactReports, type FactReports } from '../../support/spend-reports.ts';

let time = new Date('2026-11-21T12:00:00Z');
const now = () => time;
const directory = mkdtempSync(join(tmpdir(), 'statement-test-'));
const database = new PGlite();
const engine = createPostgresEngine(async () => ({
  query: (text, params) => database.query<Record<string, unknown>>(text, params),
  close: async () => undefined,
}));
const { signal } = new AbortController();

beforeAll(() => database.waitReady, 60_000);
afterAll(async () => {
  await database.close();
  rmSync(directory, { recursive: true });
});

const fact = {
  day: '2026-10-05',
  usd: '1.000000000001',
  team: 't1',
  user: 'ada',
  key: 'k',
  provider: 'openai',
  input: 10,
  output: 5,
};

describe.each<[string, boolean, (name: string) => Store]>([
  ['SQLite', false, (name) => openStore({ name, directory, now: () => time.getTime() })],
  ['PostgreSQL', true, (name) => createStore(engine, { name, now: () => time.getTime() })],
])('the statement over %s', (_, durable, open) => {
  let count = 0;
  let reports: FactReports;
  beforeEach(() => {
    count += 1;
    time = new Date('2026-11-21T12:00:00Z');
    reports = createFactReports(
      [fact, { ...fact, day: '2026-10-31', usd: '2', team: '' }, { ...fact, day: '2026-11-01', usd: '9' }],
      now,
    );
    reports.names = { t1: 'Research' };
  });
  const replica = () => createStatements({ reports, store: open(`st${count}`), now });
  const issue = () => replica()('2026-10', signal);

  it('is the total and the tables of a closed month, to the last digit', async () => {
    const { status, figures, adjustments } = await issue();
    expect(status).toBe('issued');
    expect(adjustments).toEqual([]);
    expect(figures).toMatchObject({
      month: '2026-10',
      start_date: '2026-10-01',
      end_date: '2026-10-31',
      total: { spend_usd: '3.000000000001', requests: 2, input_tokens: 20, output_tokens: 10, total_tokens: 30 },
      unavailable: {},
    });
    expect(figures.tables.team).toEqual([
      { id: '', name: '', spend_usd: '2', requests: 1, input_tokens: 10, output_tokens: 5, total_tokens: 15 },
      {
        id: 't1',
        name: 'Research',
        spend_usd: '1.000000000001',
        requests: 1,
        input_tokens: 10,
        output_tokens: 5,
        total_tokens: 15,
      },
    ]);
    expect(Object.keys(figures.tables).toSorted()).toEqual(['day', 'key', 'provider', 'team', 'user']);
    expect(figures.tables.day?.map(({ id }) => id)).toEqual(['2026-10-05', '2026-10-31']);
  });

  it('stays as it was issued, and shows what changed since beside it, also after a restart', async () => {
    const first = await issue();
    time = new Date('2026-12-24T00:00:00Z');
    reports.facts.push({ ...fact, day: '2026-10-31', usd: '0.5', team: 't2', input: 1, output: 1 });
    const second = await issue();
    expect(second).toMatchObject({ status: 'issued', issuedAt: '2026-11-21T12:00:00.000Z', checksum: first.checksum });
    expect(second.figures).toEqual(first.figures);
    expect(second.adjustments).toContainEqual({
      table: 'total',
      id: '',
      name: 'total',
      issued_usd: '3.000000000001',
      now_usd: '3.500000000001',
      difference_usd: '0.5',
      difference_requests: 1,
      difference_tokens: 2,
    });
    expect(second.adjustments).toContainEqual(
      expect.objectContaining({ table: 'team', id: 't2', issued_usd: '0', difference_usd: '0.5' }),
    );
    expect(second.adjustments?.map(({ table, id }) => `${table} ${id}`)).toEqual([
      'total ',
      'team t2',
      'user ada',
      'key k',
      'provider openai',
      'day 2026-10-31',
    ]);
    reports.facts.splice(0, 1);
    expect((await issue()).adjustments).toContainEqual(
      expect.objectContaining({ table: 'team', id: 't1', now_usd: '0', difference_usd: '-1.000000000001' }),
    );
  });

  it('is one, whichever of many replicas issues it at once', async () => {
    const issued = await Promise.all(
      Array.from({ length: 8 }, (_unused, at) => {
        // Each replica reads another moment of a month that goes on changing.
        const own = createFactReports([...reports.facts, { ...fact, usd: String(at) }], now);
        return createStatements({ reports: own, store: open(`st${count}`), now })('2026-10', signal);
      }),
    );
    expect(new Set(issued.map(({ checksum }) => checksum)).size).toBe(1);
    expect(new Set(issued.map(({ figures }) => figures.total.spend_usd)).size).toBe(1);
    expect((await issue()).checksum).toBe(issued[0]?.checksum);
  });

  it('carries a checksum that anyone can make again, and is refused when the store was altered', async () => {
    const { figures, checksum } = await issue();
    expect(toChecksum(JSON.parse(JSON.stringify(figures)) as Figures)).toBe(checksum);
    const { kv } = open(`st${count}`);
    const stored = (await kv.get('statement/2026-10')) as { figures: Figures };
    stored.figures.total.spend_usd = '1';
    await kv.put('statement/2026-10', stored);
    await expect(issue()).rejects.toMatchObject({ status: 500, code: 'statement_altered' });
  });

  it('says whether it survives this replica', async () => {
    const { durable: told, notes } = await issue();
    expect(told).toBe(durable);
    expect(notes.map(({ code }) => code)).toEqual(durable ? [] : ['not_durable']);
  });

  it('is a draft while something is missing, and frozen once nothing is', async () => {
    reports.notes = [{ code: 'truncated', message: 'Rows were cut' }];
    const draft = await issue();
    expect(draft).toMatchObject({ status: 'draft', issuedAt: null });
    expect(draft.notes.map(({ code }) => code)).toEqual(expect.arrayContaining(['incomplete', 'truncated']));
    reports.notes = [];
    reports.facts.push({ ...fact, usd: '1' });
    expect(await issue()).toMatchObject({ status: 'issued', figures: { total: { spend_usd: '4.000000000001' } } });
  });

  it('is a draft in the hour after the month, in which late requests are still written', async () => {
    time = new Date('2026-11-01T00:59:59Z');
    expect(await issue()).toMatchObject({
      status: 'draft',
      notes: expect.arrayContaining([expect.objectContaining({ code: 'settling' })]),
    });
    time = new Date('2026-11-01T01:00:00Z');
    expect(await issue()).toMatchObject({ status: 'issued' });
  });

  it('is a draft when the spend changed between its tables', async () => {
    const read = reports.read;
    reports.read = async (query, context) => {
      if (query.groupBy[0] === 'key') reports.facts.push({ ...fact, usd: '0.01' });
      return read(query, context);
    };
    expect(await issue()).toMatchObject({
      status: 'draft',
      notes: expect.arrayContaining([expect.objectContaining({ code: 'moved' })]),
    });
  });

  it('leaves out a table that this LiteLLM cannot tell, with the reason', async () => {
    reports.unsupported.add('team').add('provider');
    const { status, figures } = await issue();
    expect(status).toBe('issued');
    expect(figures.tables.team).toBeUndefined();
    expect(figures.unavailable).toEqual({
      team: 'This LiteLLM knows no spend by team',
      provider: 'This LiteLLM knows no spend by provider',
    });
  });

  it('is given as issued when LiteLLM is away, where what changed is not known', async () => {
    const first = await issue();
    reports.failure = new UpstreamError('LiteLLM', 'network', 'ECONNREFUSED');
    const second = await issue();
    expect(second).toMatchObject({ checksum: first.checksum, adjustments: null });
    expect(second.notes.map(({ code }) => code)).toContain('adjustments_unknown');
  });

  it('reads LiteLLM again, past every remembered day', async () => {
    await issue();
    expect(reports.asked.map(({ refresh }) => refresh)).not.toContain(false);
  });

  it('is a CSV that no spreadsheet runs', async () => {
    reports.names = { t1: '=HYPERLINK("http://evil","x")', ada: '@SUM(A1)', k: '+1-cmd|calc' };
    const csv = toStatementCsv(await issue());
    const rows = csv.trim().split('\r\n');
    expect(rows[0]).toBe('month,table,id,name,spend_usd,requests,input_tokens,output_tokens,total_tokens');
    expect(rows[1]).toBe('2026-10,total,,,3.000000000001,2,20,10,30');
    expect(csv).toContain(`2026-10,team,t1,"'=HYPERLINK(""http://evil"",""x"")",1.000000000001,1,10,5,15`);
    expect(csv).toContain("2026-10,user,ada,'@SUM(A1)");
    expect(csv).toContain("2026-10,key,k,'+1-cmd|calc");
    for (const cell of csv.split(/\r\n|,/)) expect(cell).not.toMatch(/^"?[=@]/);
  });
});

describe('adjustments', () => {
  const line = fc.record({
    day: fc.constantFrom('2026-10-01', '2026-10-02', '2026-10-31'),
    // Above what is taken for the noise of floats.
    usd: fc.bigInt({ min: 1n, max: 10n ** 9n }).map((micro) => formatUsd(micro * 1_000_000n)),
    team: fc.constantFrom('', 'a', 'b'),
    user: fc.constantFrom('ada', 'bob'),
    provider: fc.constantFrom('openai', 'vast'),
  });

  it('bring each table from what was issued to what is now, for any two readings', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(line), async (before, after) => {
        const read = async (facts: typeof before) =>
          (await readFigures('2026-10', { reports: createFactReports(facts, now), signal })).figures;
        const [issued, current] = [await read(before), await read(after)];
        const adjustments = toAdjustments(issued, current);
        const total = parseUsd(current.total.spend_usd) - parseUsd(issued.total.spend_usd);
        for (const table of ['team', 'user', 'provider', 'day', 'key', 'total'] as const) {
          const lines = adjustments.filter((one) => one.table === table);
          expect(lines.reduce((sum, one) => sum + parseUsd(one.difference_usd), 0n)).toBe(total);
        }
        expect(toAdjustments(issued, issued)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('are none for another order of the same floats', async () => {
    const read = async (usd: string) =>
      (await readFigures('2026-10', { reports: createFactReports([{ ...fact, usd }], now), signal })).figures;
    expect(toAdjustments(await read('1.000000000001'), await read('1'))).toEqual([]);
  });
});

describe('the month', () => {
  it('is the last one that is over when none is named', () => {
    expect(lastMonth(new Date('2026-01-31T23:59:59Z'))).toBe('2025-12');
    expect(parseMonth(null, new Date('2026-11-01T00:00:00Z'))).toBe('2026-10');
  });

  it.each(['2026-11', '2027-01', '2026-13', '2026-1', '2019-12', 'october', '2026-10-01'])(
    '%s is refused, and the sentence says what is allowed',
    (text) => {
      expect(() => parseMonth(text, new Date('2026-11-30T23:59:59Z'))).toThrow(
        'month must be one that is over, from 2020-01 to 2026-10, as YYYY-MM',
      );
    },
  );
});
