import { HttpError, UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Store } from '#shared/store/store.ts';
import type { Note, Reports } from '../report/report.ts';
import { type Adjustment, type Figures, readFigures, toAdjustments, toChecksum } from './figures.ts';

/** LiteLLM writes a request when it ends and files it under its beginning: a month goes on changing for a while. */
const settleMs = 60 * 60_000;

interface Frozen {
  issued_at: string;
  checksum: string;
  figures: Figures;
}

export interface Statement {
  /** `draft`: not frozen, and `notes` says why. */
  status: 'issued' | 'draft';
  /** Null for a draft. */
  issuedAt: string | null;
  checksum: string;
  figures: Figures;
  /** Null where LiteLLM could not be read: it is not known what changed. */
  adjustments: Adjustment[] | null;
  /** False where a restart may lose what was issued, and other replicas do not know it. */
  durable: boolean;
  notes: Note[];
}

export interface StatementsOptions {
  reports: Pick<Reports, 'read'>;
  store: Pick<Store, 'kv' | 'durable'>;
  now: () => Date;
}

const notDurable: Note = {
  code: 'not_durable',
  message:
    'Without the secret store-url this statement lies in the temporary folder of one replica: it is gone with the replica, and the next one issues the month anew',
};

/** The newest month that is over, as YYYY-MM. */
export const lastMonth = (now: Date) =>
  new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1)).toISOString().slice(0, 7);

/** Checks `month`; the last one without it. Throws HttpError 400. */
export function parseMonth(text: string | null, now: Date): string {
  const latest = lastMonth(now);
  if (text === null) return latest;
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text) && text >= '2020-01' && text <= latest) return text;
  const sentence = `month must be one that is over, from 2020-01 to ${latest}, as YYYY-MM`;
  throw new HttpError(400, sentence, { code: 'invalid_parameter' });
}

/**
 * Freezes a month at its first issue, once for all replicas, and from then on gives the same figures, with what has
 * changed since beside them. A month that is known to lack something, or ended within the hour, stays a draft.
 */
export function createStatements({ reports, store, now }: StatementsOptions) {
  const { kv, durable } = store;
  const standing = durable ? [] : [notDurable];

  async function readFrozen(month: string): Promise<Frozen | undefined> {
    const frozen = (await kv.get(`statement/${month}`)) as Frozen | undefined;
    if (frozen !== undefined && toChecksum(frozen.figures) !== frozen.checksum) {
      const sentence = `The stored statement of ${month} is not what was issued: it does not match its checksum`;
      throw new HttpError(500, sentence, { code: 'statement_altered' });
    }
    return frozen;
  }

  function toIssued(
    { issued_at: issuedAt, checksum, figures }: Frozen,
    current: Figures | null,
    notes: Note[],
  ): Statement {
    const adjustments = current === null ? null : toAdjustments(figures, current);
    return { status: 'issued', issuedAt, checksum, figures, adjustments, durable, notes: [...standing, ...notes] };
  }

  async function compare(frozen: Frozen, month: string, signal: AbortSignal): Promise<Statement> {
    try {
      const { figures, notes } = await readFigures(month, { reports, signal });
      return toIssued(frozen, figures, notes);
    } catch (error) {
      if (!(error instanceof UpstreamError || error instanceof HttpError)) throw error;
      const message = `What changed since the issue is not known: ${toProblem(error).message}`;
      return toIssued(frozen, null, [{ code: 'adjustments_unknown', message }]);
    }
  }

  return async (month: string, signal: AbortSignal): Promise<Statement> => {
    const known = await readFrozen(month);
    if (known !== undefined) return compare(known, month, signal);
    const { figures, complete, notes } = await readFigures(month, { reports, signal });
    const checksum = toChecksum(figures);
    const isSettled = now().getTime() >= Date.parse(`${figures.end_date}T24:00:00Z`) + settleMs;
    if (!complete || !isSettled) {
      const reasons: Note[] = [
        ...(complete ? [] : [{ code: 'incomplete', message: 'It is a draft: something is known to be missing' }]),
        ...(isSettled ? [] : [{ code: 'settling', message: 'It is a draft: the month ended less than an hour ago' }]),
      ];
      const draft = { issuedAt: null, checksum, figures, adjustments: [], durable };
      return { status: 'draft', ...draft, notes: [...standing, ...reasons, ...notes] };
    }
    const frozen: Frozen = { issued_at: now().toISOString(), checksum, figures };
    // Of several that issue at once, one is first, and all give what it wrote.
    const isFirst = await kv.putIfAbsent(`statement/${month}`, frozen);
    const issued = isFirst ? frozen : ((await readFrozen(month)) ?? frozen);
    return toIssued(issued, figures, notes);
  };
}
