import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { createLogger } from '#shared/log.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import type { UsageRecord } from '#shared/usage.ts';
import { batchSize, packRecords, recordStream } from '../../../functions/completion-proxy/records/batch.ts';
import { createUsageSender } from '../../../functions/completion-proxy/records/usage-sender.ts';
import { makeRecord } from '../../support/call-record.ts';

const directory = mkdtempSync(join(tmpdir(), 'usage-sender-'));
afterAll(() => rmSync(directory, { recursive: true }));
let store: Store;
let count = 0;
beforeEach(() => {
  store = openStore({ name: `u${count++}`, directory });
});

const failure = (status: number) => new UpstreamError('The usage webhook', 'status', 'no', { status });

/** The request id of a record that is sent, without its serial. */
const idOf = ({ id }: UsageRecord) => id.replace(/\.1$/, '');

/** A receiver of batches that refuses what `judge` throws for. */
function createReceiver(judge: (records: UsageRecord[], post: number) => void = () => undefined) {
  const taken: string[] = [];
  const sizes: number[] = [];
  let posts = 0;
  return {
    taken,
    sizes,
    post: async (records: UsageRecord[]) => {
      judge(records, posts++);
      sizes.push(records.length);
      taken.push(...records.map(idOf));
    },
  };
}

function open(receiver: { post: (records: UsageRecord[]) => Promise<void> }) {
  const lost: number[] = [];
  const log = createLogger({ write: () => undefined });
  const sender = createUsageSender({ store, post: receiver.post, log, onLost: (records) => lost.push(records) });
  return { sender, lost };
}

/** Entries as history writes them. */
async function write(from: number, to: number, perEntry = 10) {
  for (let id = from; id < to; id += perEntry) {
    const records = Array.from({ length: Math.min(perEntry, to - id) }, (_, index) => makeRecord(`r${id + index}`));
    await store.log.append(recordStream, packRecords(records));
  }
}
const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `r${from + index}`);

describe('the usage sender', () => {
  it('sends every record once and in order, a thousand at most at a time, and only new ones later', async () => {
    await write(0, 2_500, batchSize);
    const receiver = createReceiver();
    const { sender } = open(receiver);
    await sender.run();
    expect(receiver.taken).toEqual(ids(0, 2_500));
    expect(Math.max(...receiver.sizes)).toBe(1_000);
    await write(2_500, 2_510);
    await sender.run();
    await sender.run();
    await sender.close();
    expect(receiver.taken).toEqual(ids(0, 2_510));
  });

  it('leaves out calls that reached no backend', async () => {
    const records = [makeRecord('a'), makeRecord('b', { outcome: 'refused' }), makeRecord('c')];
    await store.log.append(recordStream, packRecords(records));
    const receiver = createReceiver();
    const { sender } = open(receiver);
    await sender.run();
    await sender.close();
    expect(receiver.taken).toEqual(['a', 'c']);
  });

  it.each([
    ['500', failure(500)],
    ['401', failure(401)],
    ['a time-out', new UpstreamError('The usage webhook', 'timeout', 'slow')],
  ])('keeps everything while the receiver answers %s, and sends it afterwards', async (_name, error) => {
    await write(0, 20);
    const receiver = createReceiver((_records, post) => {
      if (post < 2) throw error;
    });
    const { sender, lost } = open(receiver);
    for (let round = 0; round < 3; round += 1) await sender.run();
    await sender.close();
    expect(receiver.taken).toEqual(ids(0, 20));
    expect(lost).toEqual([]);
  });

  it('gives up the one record that is refused, and sends the others of its batch once', async () => {
    await write(0, 50);
    const receiver = createReceiver((records) => {
      if (records.some((record) => idOf(record) === 'r17')) throw failure(400);
    });
    const { sender, lost } = open(receiver);
    await sender.run();
    await sender.close();
    expect(receiver.taken).toEqual(ids(0, 50).filter((id) => id !== 'r17'));
    expect(lost).toEqual([1]);
  });

  it('sends a batch again whose answer was lost, as the receiver knows duplicates by their id', async () => {
    await write(0, 10);
    const taken: string[] = [];
    let posts = 0;
    const { sender } = open({
      post: async (records) => {
        taken.push(...records.map(idOf));
        posts += 1;
        if (posts === 1) throw new UpstreamError('The usage webhook', 'network', 'reset');
      },
    });
    await sender.run();
    await sender.run();
    await sender.close();
    expect(taken).toEqual([...ids(0, 10), ...ids(0, 10)]);
  });

  it('is one of several replicas at a time', async () => {
    await write(0, 100);
    const receiver = createReceiver();
    const senders = Array.from({ length: 3 }, () => open(receiver).sender);
    await Promise.all(senders.map((sender) => sender.run()));
    await Promise.all(senders.map((sender) => sender.close()));
    expect(receiver.taken).toEqual(ids(0, 100));
  });
});
