import type { Call } from './call.ts';
import type { AnswerHead } from './head.ts';
import { isBad } from './verdict.ts';

/** How far an attempt has come. */
export type Stage =
  /** No head yet. */
  | 'asked'
  /** A head, and the first byte of its body is awaited: until it comes, another backend may still answer. */
  | 'held'
  /** A refusal that may be the model's alone: its body is read before the caller gets it. */
  | 'reading'
  /** A failure's head, which waits for the decision to deliver or drop it. */
  | 'judged'
  | 'flowing'
  /** Collected to be told inside a stream that began with a ping. */
  | 'collecting'
  /** Read for nothing: the caller is gone, or another attempt follows. */
  | 'dropping'
  | 'done';

/** What a head is worth: whether it goes to the caller at once depends on who else could answer. */
export function stageAtHead({ hasOthers, route }: Call, { status, form }: AnswerHead): Stage {
  if (isBad(status)) return 'judged';
  if (status === 400 && hasOthers && form === undefined) return 'reading';
  return route !== undefined && status < 300 ? 'held' : 'flowing';
}

/** After a ping the status is 200, and only an event stream can go on as it comes. */
export const stageOfBody = ({ isCommitted }: Call, { status, form }: AnswerHead): Stage =>
  isCommitted && (form !== 'sse' || status >= 300) ? 'collecting' : 'flowing';
