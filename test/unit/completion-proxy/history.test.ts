import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import {
  createHistory,
  type HistoryOptions,
  type HistoryQuery,
} from '../../../functions/completion-proxy/records/history.ts';
import type { CallRecord } from '../../../functions/completion-proxy/records/record.ts';
import { makeRecord as makeCallRecord } from '../../support/call-record.ts';

const directory = mkdtempSync(join(tmpdir(), 'history-'));
afterAll(() => rmSync(directory, { recursive: true }));

let time = Date.UTC(2026, 10, 1);
let store: Store;
let isDown = false;
let count = 0;
beforeEach(() => {
  time = Date.UTC(2026, 10, 1);
  isDown = false;
  store = openStore({ name: `h${count++}`, directory, now: () => time });
});

function makeRecord(id: number, more: Partial<CallRecord> = {}): CallRecord {
  const at = new Date(time).toISOString();
  const caller = id % 2 === 0 ? 'even' : 'odd';
  return makeCallRecord(`call-${id}`, { started_at: at, caller, status: id % 10 === 0 ? 500 : 200, ...more });
}

function open(options: Partial<HistoryOptions> = {}) {
  const lost: number[] = [];
  const log: Store['log'] = {
    ...store.log,
    append: (...args) => (isDown ? Promise.reject(new Error('down')) : store.log.append(...args)),
  };
  const history = createHistory({
    store: { log },
    log: createLogger({ write: () => undefined }),
    now: () => time,
    keepMs: 86_400_000,
    keepRecords: 1_000_000,
    onLost: (records) => lost.push(records),
    flushMs: 60_000,
    ...options,
  });
  return { history, lost: () => lost.reduce((sum, one) => sum + one, 0) };
}

async function all(history: ReturnType<typeof createHistory>, query: Partial<HistoryQuery> = {}) {
  const ids: string[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await history.find({ limit: 7, ...query, ...(cursor === undefined ? {} : { cursor }) });
    ids.push(...page.records.map(({ id }) => id));
    if (page.next === null) return ids;
    cursor = page.next;
  }
}

const idsDown = (from: number, to = 0) => Array.from({ length: from - to }, (_, index) => `call-${from - 1 - index}`);

describe('history', () => {
  it('gives every record once, newest first, page by page, across the batches that it was written in', async () => {
    const { history } = open();
    for (let id = 0; id < 250; id += 1) history.add(makeRecord(id));
    expect(await all(history)).toEqual(idsDown(250));
    expect(await all(history, { limit: 250 })).toEqual(idsDown(250));
    expect(await all(history, { limit: 1_000 })).toEqual(idsDown(250));
  });

  it('goes on where a page ended, though new records came', async () => {
    const { history } = open();
    for (let id = 0; id < 20; id += 1) history.add(makeRecord(id));
    const first = await history.find({ limit: 5 });
    for (let id = 20; id < 40; id += 1) history.add(makeRecord(id));
    await history.close();
    const second = await history.find({ limit: 5, cursor: first.next! });
    expect(second.records.map(({ id }) => id)).toEqual(idsDown(15, 10));
  });

  it('finds by time, caller, model, status, outcome and text', async () => {
    const { history } = open();
    for (let id = 0; id < 30; id += 1) {
      time += 1_000;
      history.add(makeRecord(id, id === 7 ? { model: 'Special', outcome: 'timeout', end_user: 'Ålice' } : {}));
    }
    expect(await all(history, { caller: 'even', limit: 100 })).toHaveLength(15);
    expect(await all(history, { status: 500 })).toEqual(['call-20', 'call-10', 'call-0']);
    expect(await all(history, { model: 'Special' })).toEqual(['call-7']);
    expect(await all(history, { model: 'm', limit: 100 })).toHaveLength(30);
    expect(await all(history, { outcome: 'timeout' })).toEqual(['call-7']);
    expect(await all(history, { text: 'åLICE' })).toEqual(['call-7']);
    const start = Date.UTC(2026, 10, 1);
    expect(await all(history, { since: start + 29_000, until: start + 30_000 })).toEqual(['call-29', 'call-28']);
  });

  it('keeps records while the store is down, gives the oldest up when there are too many, and counts them', async () => {
    const { history, lost } = open();
    isDown = true;
    for (let id = 0; id < 10_050; id += 1) history.add(makeRecord(id));
    await history.close();
    expect(lost()).toBe(50);
    isDown = false;
    const page = await history.find({ limit: 20_000 });
    expect(page.records).toHaveLength(10_000);
    expect(page.records.at(-1)!.id).toBe('call-50');
  });

  it('drops what is too old, and what is too much', async () => {
    const { history } = open({ keepMs: 3_600_000, keepRecords: 150 });
    for (let id = 0; id < 100; id += 1) history.add(makeRecord(id));
    await history.close();
    time += 3_600_001;
    history.add(makeRecord(100));
    await history.close();
    expect(await all(history)).toEqual(['call-100']);
    for (let id = 101; id < 601; id += 1) {
      time += 1;
      history.add(makeRecord(id));
      if (id % 100 === 0) await history.close();
    }
    time += 600_001;
    history.add(makeRecord(601));
    await history.close();
    const left = await all(history);
    expect(left.length).toBeGreaterThanOrEqual(150);
    expect(left.length).toBeLessThanOrEqual(350);
    expect(left[0]).toBe('call-601');
  });

  it('is pruned also by replicas that live for less than the time between two prunings', async () => {
    for (let life = 0; life < 5; life += 1) {
      const { history } = open({ keepMs: 3_600_000 });
      history.add(makeRecord(life));
      time += 30_000;
      await history.close();
      time += 1_800_000;
    }
    const { entries } = await store.log.page('calls');
    expect(entries.length).toBeLessThanOrEqual(3);
  });

  it('shows nothing that is too old, whether or not it is pruned by now', async () => {
    const { history } = open({ keepMs: 30_000 });
    history.add(makeRecord(1));
    await history.close();
    time += 30_001;
    expect(await all(history)).toEqual([]);
    expect(await all(history, { since: 0 })).toEqual([]);
  });

  it('keeps what no receiver took yet beyond the number that is kept, and counts what it gives up in the end', async () => {
    let sentUpTo: string | undefined;
    const unsent: number[] = [];
    const sending = { sentUpTo: async () => sentUpTo, onLost: (records: number) => unsent.push(records) };
    const { history } = open({ keepRecords: 100, sending });
    const write = async (from: number, to: number) => {
      for (let id = from; id < to; id += 1) {
        time += 1;
        history.add(makeRecord(id));
        if (id % 50 === 49) await history.close();
      }
      time += 600_001;
      history.add(makeRecord(to));
      await history.close();
    };
    await write(0, 500);
    expect(await all(history, { limit: 1_000 })).toHaveLength(501);
    expect(unsent).toEqual([]);
    await write(501, 1_500);
    const left = (await all(history, { limit: 2_000 })).length;
    expect(left).toBeLessThan(1_100);
    expect(unsent).toEqual([1_501 - left]);
    const page = await store.log.page('calls', { newestFirst: true, limit: 1 });
    sentUpTo = page.entries[0]!.cursor;
    await write(1_501, 1_600);
    expect((await all(history, { limit: 2_000 })).length).toBeLessThan(250);
    expect(unsent).toHaveLength(1);
  });

  it('tells followers of each new record until they leave', () => {
    const { history } = open();
    const seen: string[] = [];
    const stop = history.follow(({ id }) => seen.push(id));
    history.add(makeRecord(1));
    stop();
    history.add(makeRecord(2));
    expect(seen).toEqual(['call-1']);
  });
});
