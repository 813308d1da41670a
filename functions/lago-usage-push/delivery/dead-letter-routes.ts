import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import type { DeadLetter, DeadLetters } from './dead-letters.ts';

function toEvent({ event }: DeadLetter): LagoEvent {
  const { precise_total_amount_cents: cents, ...rest } = event;
  return cents === undefined ? rest : { ...rest, precise_total_amount_cents: cents };
}

/** What Lago refused, and another try. */
export function createDeadLetterRoutes(options: { lago: LagoClient; deadLetters: DeadLetters }): {
  list: FunctionHandler;
  retry: FunctionHandler;
} {
  const { lago, deadLetters } = options;
  return {
    /** `GET /dead-letters?after=&limit=`: those that wait, oldest first. */
    async list({ query }) {
      const limit = query.get('limit') ?? '100';
      const after = query.get('after') ?? undefined;
      if (!/^\d{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > 1000) {
        throw new HttpError(400, 'limit must be a whole number from 1 to 1000', { code: 'bad_parameter' });
      }
      if (after !== undefined && !/^\d{1,15}$/.test(after)) {
        throw new HttpError(400, 'after must be the next of an earlier answer', { code: 'bad_parameter' });
      }
      const { letters, next } = await deadLetters.page({ after, limit: Number(limit) });
      return json(200, { dead_letters: letters, next: next ?? null });
    },

    /** `POST /dead-letters/retry`: sends each again as it was; what Lago takes now, or has, is a dead letter no more. */
    async retry(_event, { signal, log }) {
      const answer = { retried: 0, sent: 0, already_there: 0, still_dead: 0 };
      let after: string | undefined;
      do {
        const page = await deadLetters.page({ after, limit: 100 });
        const events = page.letters.map(toEvent);
        // One of them may have been stored all the same.
        const result = await lago.sendDoubtful(events, signal);
        for (const id of [...result.delivered, ...result.alreadyThere]) await deadLetters.resolve(id);
        answer.retried += events.length;
        answer.sent += result.delivered.length;
        answer.already_there += result.alreadyThere.length;
        answer.still_dead += result.rejected.length;
        after = page.next;
      } while (after !== undefined);
      log.info('dead letters sent again', answer);
      return json(200, answer);
    },
  };
}
