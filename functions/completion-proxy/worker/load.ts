/** One call as the autoscaler counts it. */
export interface Work {
  workload: number;
  /** Undefined for a call that the autoscaler did not give out: nothing is deleted there for it. */
  requestIdx: number | undefined;
  reqnum: number | undefined;
}

type End = 'served' | 'cancelled' | 'errored';

export interface Deletion {
  requestIdx: number;
  success: boolean;
}

/** Sums since the last report that was taken. */
export interface Counts {
  received: number;
  cancelled: number;
  served: number;
  rejected: number;
}

const none = (): Counts => ({ received: 0, cancelled: 0, served: 0, rejected: 0 });
const remembered = 10_000;

function dropOldest<T>(set: Set<T>) {
  if (set.size > remembered) set.delete(set.values().next().value!);
}

/** What this worker has to do, what it did since the last report, and which calls the autoscaler can forget. */
export class Load {
  /** Workload a second, as the benchmark measured it. */
  throughput = 0;
  /** Tickets that came, ever, and calls without one: a ticket that comes again counts once. */
  received = 0;
  /** Something changed that a report should tell. */
  isNews = true;
  #counts = none();
  readonly #active = new Set<Work>();
  #current = 0;
  #deletions = new Map<string, Deletion>();
  /** Tickets whose deletion was sent: one that is used again has none to send. */
  readonly #deleted = new Set<string>();
  readonly #reqnums = new Set<number>();
  readonly #isTold: boolean;

  /** `isTold`: somebody takes the deletions. Else they would only grow. */
  constructor({ isTold = true }: { isTold?: boolean } = {}) {
    this.#isTold = isTold;
  }

  get current() {
    return this.#current;
  }

  get working() {
    return this.#active.size;
  }

  get requestIdxs(): number[] {
    return [...new Set([...this.#active].flatMap(({ requestIdx }) => requestIdx ?? []))];
  }

  get counts(): Counts {
    return { ...this.#counts };
  }

  /** Seconds that the work under way will take. */
  get waitS() {
    return this.#active.size === 0 ? 0 : this.#current / Math.max(this.throughput, 1e-5);
  }

  begin(work: Work): void {
    this.#active.add(work);
    this.#current += work.workload;
    this.#receive(work);
  }

  /** Once for each that began. */
  end(work: Work, how: End): void {
    if (!this.#active.delete(work)) return;
    // Sums of fractions drift: nothing under way is exactly nothing.
    this.#current = this.#active.size === 0 ? 0 : this.#current - work.workload;
    if (how === 'served') this.#counts.served += work.workload;
    if (how === 'cancelled') this.#counts.cancelled += work.workload;
    this.isNews = true;
    this.#forget(work, how !== 'errored');
  }

  reject(work: Work): void {
    this.#counts.rejected += work.workload;
    this.#receive(work);
    this.#forget(work, false);
  }

  /** A call with a right ticket that is refused for what it is: no work, but the autoscaler waits for its end. */
  decline(work: Work): void {
    this.#forget(work, false);
  }

  #receive({ workload, reqnum }: Work) {
    this.#counts.received += workload;
    this.isNews = true;
    if (reqnum !== undefined && this.#reqnums.has(reqnum)) return;
    this.received += 1;
    if (reqnum === undefined) return;
    this.#reqnums.add(reqnum);
    dropOldest(this.#reqnums);
  }

  #forget(work: Work, success: boolean) {
    const { requestIdx, reqnum } = work;
    if (requestIdx === undefined || !this.#isTold) return;
    // Another call with the same ticket is still under way: the last one tells.
    for (const other of this.#active) if (other.requestIdx === requestIdx) return;
    const key = `${requestIdx}:${reqnum}`;
    if (!this.#deleted.has(key)) this.#deletions.set(key, { requestIdx, success });
  }

  /** Takes what a report told out of the sums; what came while it was sent stays. */
  reported(told: Counts): void {
    for (const name of Object.keys(told) as (keyof Counts)[]) this.#counts[name] -= told[name];
  }

  get deletions(): ReadonlyMap<string, Deletion> {
    return new Map(this.#deletions);
  }

  deleted(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#deletions.delete(key);
      this.#deleted.add(key);
      dropOldest(this.#deleted);
    }
  }
}
