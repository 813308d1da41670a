export type LagoProfile = '1.12' | '1.33' | '1.39' | 'clickhouse';

/** An event as it is sent. */
export interface LagoEvent {
  transaction_id?: string;
  external_subscription_id?: string;
  code?: string;
  timestamp?: string | number;
  precise_total_amount_cents?: string;
  properties?: Record<string, unknown> | null;
}

/** An event as Lago keeps it. */
export interface Stored {
  lagoId: string;
  transaction_id: string;
  external_subscription_id: string | null;
  code: string;
  /** ISO 8601, milliseconds. */
  timestamp: string;
  precise_total_amount_cents: string | null;
  properties: Record<string, unknown>;
  created_at: string;
  /** Stored beside a duplicate by 1.32.4 to 1.38: no job ever looks at it. */
  unprocessed?: true;
}

/** The stored events with the index that a database has: a hundred thousand of them are read and written at once. */
export class EventTable {
  /** In the order of arrival. */
  readonly list: Stored[] = [];
  readonly #byId = new Map<string, Stored[]>();
  readonly #at = new WeakMap<Stored, number>();

  /** ms since 1970. */
  timeOf(event: Stored): number {
    const known = this.#at.get(event);
    if (known !== undefined) return known;
    const at = Date.parse(event.timestamp);
    this.#at.set(event, at);
    return at;
  }

  find(transactionId: string): Stored | undefined {
    return this.#byId.get(transactionId)?.[0];
  }

  /** The event that a new one would repeat. */
  findSame(event: Pick<LagoEvent, 'transaction_id'> & { external_subscription_id?: string | null }) {
    return this.#byId.get(event.transaction_id ?? '')?.find((item) => isSame(item, event));
  }

  add(event: Stored) {
    this.list.push(event);
    const same = this.#byId.get(event.transaction_id);
    if (same === undefined) this.#byId.set(event.transaction_id, [event]);
    else same.push(event);
  }

  /** As if it had never come. */
  remove(transactionId: string) {
    this.#byId.delete(transactionId);
    for (let at = this.list.length - 1; at >= 0; at--) {
      if (this.list[at]?.transaction_id === transactionId) this.list.splice(at, 1);
    }
  }

  /** Puts an event in the place of the one with its id, subscription, code and time; false when there is none. */
  replace(event: Stored): boolean {
    const same = this.#byId.get(event.transaction_id) ?? [];
    const old = same.find(
      (item) => isSame(item, event) && item.code === event.code && item.timestamp === event.timestamp,
    );
    if (old === undefined) return false;
    Object.assign(old, event);
    return true;
  }
}

type Problem = Record<string, string[]>;

export type WriteOutcome =
  | { kind: 'stored'; stored: Stored[] }
  | { kind: 'invalid'; problems: Record<string, Problem> }
  | { kind: 'crash' };

/** Unix seconds with decimals, number or text; undefined where Lago says `invalid_format`. */
function readTimestamp(event: LagoEvent, profile: LagoProfile): string | undefined {
  if (event.timestamp === undefined || event.timestamp === null) return new Date().toISOString();
  const seconds = Number(String(event.timestamp).trim() || 'none');
  // Before 1.17.4 anything else became the year 1970 without a word.
  if (Number.isNaN(seconds)) return profile === '1.12' ? new Date(0).toISOString() : undefined;
  const ms = Math.floor(seconds * 1000 + 1e-4);
  return Math.abs(ms) > 8.64e15 ? undefined : new Date(ms).toISOString();
}

function findProblem(event: LagoEvent, profile: LagoProfile): Problem | undefined {
  if (!event.transaction_id) return { transaction_id: ['value_is_mandatory'] };
  if (!event.code) return { code: ['value_is_mandatory'] };
  return readTimestamp(event, profile) === undefined ? { timestamp: ['invalid_format'] } : undefined;
}

// A NULL subscription is never equal to another one, so the unique index lets those through.
const isSame = (
  stored: Stored,
  event: Pick<LagoEvent, 'transaction_id'> & { external_subscription_id?: string | null },
) =>
  stored.external_subscription_id !== null &&
  stored.transaction_id === event.transaction_id &&
  stored.external_subscription_id === event.external_subscription_id;

const duplicate: Problem = { transaction_id: ['value_already_exist'] };

/** Writes one call's events into `table` by the rules of the version: what is refused, and what stays all the same. */
export function writeBatch(
  table: EventTable,
  incoming: LagoEvent[],
  profile: LagoProfile,
  stamp: () => Pick<Stored, 'lagoId' | 'created_at'>,
): WriteOutcome {
  const problems: Record<string, Problem> = {};
  const stored: Stored[] = [];
  let crashed = false;
  incoming.forEach((event, index) => {
    if (crashed) return;
    const { transaction_id = '', external_subscription_id = null, code = '', properties } = event;
    const timestamp = readTimestamp(event, profile) ?? '';
    const known = profile !== 'clickhouse' && table.findSame(event) !== undefined;
    // From 1.39 on a batch is indexed by the id alone: one id for two subscriptions is refused as well.
    const repeated =
      profile !== 'clickhouse' &&
      stored.some((item) => (profile === '1.39' ? item.transaction_id === transaction_id : isSame(item, event)));
    const problem = findProblem(event, profile) ?? (known ? duplicate : undefined);
    if (problem !== undefined) problems[index] = problem;
    else if (repeated && profile === '1.12') crashed = true;
    else if (repeated) problems[index] = duplicate;
    else {
      stored.push({
        ...stamp(),
        transaction_id,
        external_subscription_id,
        code,
        timestamp,
        precise_total_amount_cents: event.precise_total_amount_cents ?? null,
        properties: properties ?? {},
      });
    }
  });

  const invalid = Object.keys(problems).length > 0;
  const keep = !invalid || profile === '1.33';
  if (keep) {
    for (const event of stored) {
      const kept: Stored = invalid ? { ...event, unprocessed: true } : event;
      if (profile !== 'clickhouse' || !table.replace(kept)) table.add(kept);
    }
  }
  if (invalid) return { kind: 'invalid', problems };
  return crashed ? { kind: 'crash' } : { kind: 'stored', stored };
}
