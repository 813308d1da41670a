import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import type { Reconcile } from './reconcile.ts';

const maxDays = 92;
const dayMs = 24 * 60 * 60 * 1000;

function readMoment(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  const isMoment = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const at = isMoment ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new HttpError(400, `${name} must be a date (UTC) or a moment such as 2026-11-01T00:00:00Z`, {
    code: 'bad_parameter',
  });
}

/** `GET` compares, `POST` also sends what is missing: `/reconcile?start=&end=`, from start (inclusive) to end (exclusive). */
export function createReconcileRoutes(options: {
  reconcile: Reconcile;
  /** How far behind the clock the ledger is whole. */
  lagMs: number;
  hasBillFrom: boolean;
  now: () => number;
}): { GET: FunctionHandler; POST: FunctionHandler } {
  const answer =
    (send: boolean): FunctionHandler =>
    async (event, { log, signal }) => {
      if (send && !options.hasBillFrom) {
        throw new HttpError(409, 'Nothing is billed before BILL_FROM is set', { code: 'bill_from_missing' });
      }
      const start = readMoment(event.query, 'start');
      const asked = readMoment(event.query, 'end');
      if (asked <= start || asked - start > maxDays * dayMs) {
        throw new HttpError(400, `end must lie after start, by ${maxDays} days at most`, { code: 'bad_parameter' });
      }
      // What was logged a moment ago is on its way, and not missing.
      const end = Math.max(start, Math.min(asked, options.now() - options.lagMs));
      return json(200, await options.reconcile({ start, end, send, log, signal }));
    };
  return { GET: answer(false), POST: answer(true) };
}
