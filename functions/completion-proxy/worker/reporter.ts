import { statfs } from 'node:fs/promises';
import type { HttpClient } from '#shared/clients/http.ts';
import type { Logger } from '#shared/http/function.ts';
import { sleep as realSleep } from '#shared/retry.ts';
import type { Load } from './load.ts';

export interface ReporterOptions {
  load: Load;
  /** One for each address, in the order in which they are tried. */
  clients: readonly { address: string; client: Pick<HttpClient, 'request'> }[];
  containerId: number;
  masterToken: () => string;
  url: string;
  statusEveryMs: number;
  deletionsEveryMs: number;
  retryDelayMs: number;
  attempts: number;
  log: Logger;
  now?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  usedDiskBytes?: () => Promise<number>;
  /** An autoscaler that does not answer must not keep a machine that is to stop. */
  lastWordsMs?: number;
}

/** How the worker is, as far as the autoscaler wants to know. */
export interface Condition {
  isLoaded: boolean;
  /** Seconds from the start until it was loaded; told once. */
  loadTimeS: number;
  error: string;
}

/** The most silence between two reports; a worker that loads is as seldom heard unless there is news. */
const longestSilenceMs = 10_000;
/** It takes no deletions. */
const withoutDeletions = 'https://cloud.vast.ai/api/v0';
const version = '0.3.0';

async function usedDisk(): Promise<number> {
  const { blocks, bfree, bsize } = await statfs('/');
  return (blocks - bfree) * bsize;
}

/** Tells the autoscaler how this worker is and which calls are done. Never throws: what was not taken is told again. */
export function createReporter(options: ReporterOptions) {
  const { load, clients, containerId, masterToken, url, retryDelayMs, attempts, log } = options;
  const { now = Date.now, sleep = realSleep, usedDiskBytes = usedDisk, lastWordsMs = 5_000 } = options;
  const condition: Condition = { isLoaded: false, loadTimeS: 0, error: '' };
  const stop = new AbortController();
  /** Ends what is under way as well. */
  const cut = new AbortController();
  const loops: Promise<void>[] = [];
  let lastAt = Number.NEGATIVE_INFINITY;
  let diskBytes: number | undefined;

  /** An answer that repeats what it was sent has the token in it. */
  function reasonOf(error: unknown): string {
    const { message } = error as Error;
    const token = masterToken();
    return token === '' ? message : message.replaceAll(token, '[redacted]');
  }

  /** The first address that takes it is enough: they are ways to the same autoscaler. */
  async function send(path: string, body: object, to = clients): Promise<boolean> {
    for (const { address, client } of to) {
      for (let attempt = 1; attempt <= attempts; attempt++) {
        try {
          await client.request({ method: 'POST', path, json: body, signal: cut.signal });
          return true;
        } catch (error) {
          log.warn('a report was not taken', { address, path, attempt, reason: reasonOf(error) });
          if (stop.signal.aborted) break;
          // It rejects only when the worker stops: then each address is tried once.
          await sleep(retryDelayMs, stop.signal).catch(() => {});
        }
      }
    }
    return false;
  }

  async function sendStatus(): Promise<void> {
    // Where the system does not tell, it is as it was.
    const used = await usedDiskBytes().catch(() => diskBytes ?? 0);
    const counts = load.counts;
    const loadTimeS = condition.loadTimeS;
    load.isNews = false;
    lastAt = now();
    const taken = await send('/worker_status/', {
      id: containerId,
      mtoken: masterToken(),
      version,
      loadtime: loadTimeS,
      cur_load: load.current,
      rej_load: counts.rejected,
      new_load: Math.max(counts.received - counts.cancelled, 0),
      error_msg: condition.error,
      max_perf: load.throughput,
      cur_perf: counts.served,
      cur_capacity: 0,
      max_capacity: 0,
      num_requests_working: load.working,
      num_requests_recieved: load.received,
      additional_disk_usage: (used - (diskBytes ?? used)) / 1e9,
      working_request_idxs: load.requestIdxs,
      url,
    });
    if (!taken) {
      load.isNews = true;
      return;
    }
    diskBytes = used;
    load.reported(counts);
    if (condition.loadTimeS === loadTimeS) condition.loadTimeS = 0;
  }

  async function tickStatus(): Promise<void> {
    const silenceMs = now() - lastAt;
    if (silenceMs >= longestSilenceMs || load.isNews) await sendStatus();
  }

  async function tickDeletions(): Promise<void> {
    const deletions = [...load.deletions];
    const to = clients.filter(({ address }) => address !== withoutDeletions);
    if (to.length === 0) return load.deleted(deletions.map(([key]) => key));
    for (const success of [true, false]) {
      const told = deletions.filter(([, deletion]) => deletion.success === success);
      if (told.length === 0) continue;
      const body = {
        worker_id: containerId,
        mtoken: masterToken(),
        request_idxs: told.map(([, { requestIdx }]) => requestIdx),
        success,
      };
      if (await send('/delete_requests/', body, to)) load.deleted(told.map(([key]) => key));
    }
  }

  async function repeat(step: () => Promise<void>, everyMs: number): Promise<void> {
    while (!stop.signal.aborted) {
      await step();
      // It rejects only when the worker stops, which the loop sees.
      await sleep(everyMs, stop.signal).catch(() => {});
    }
  }

  return {
    tickStatus,
    tickDeletions,
    start(): void {
      loops.push(repeat(tickStatus, options.statusEveryMs), repeat(tickDeletions, options.deletionsEveryMs));
    },
    loaded(loadTimeS: number): void {
      Object.assign(condition, { isLoaded: true, loadTimeS, error: '' });
      load.isNews = true;
    },
    /** `''` is well again. */
    errored(error: string): void {
      if (condition.error === error) return;
      condition.error = error;
      load.isNews = true;
    },
    /** Tells the last of it, once and within `lastWordsMs`: what is being told is not told again. */
    async close(): Promise<void> {
      stop.abort();
      const timer = setTimeout(() => cut.abort(), lastWordsMs);
      await Promise.all(loops);
      await Promise.all([tickDeletions(), load.isNews ? sendStatus() : undefined]);
      clearTimeout(timer);
    },
  };
}

export type Reporter = ReturnType<typeof createReporter>;
