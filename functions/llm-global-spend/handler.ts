import type { LitellmClient } from '#shared/clients/litellm.ts';
import { HttpError } from '#shared/errors.ts';
import type { Handler } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { usdToNumber } from '#shared/money.ts';
import { toDay } from './days.ts';
import { readTotals } from './totals.ts';

export interface LlmGlobalSpendOptions {
  litellm: Pick<LitellmClient, 'spendByDay'>;
  /** The first day that can have spend, YYYY-MM-DD. */
  epoch: string;
  now: () => Date;
}

/** `GET /`: what the LiteLLM proxy has cost ever, in this UTC month and on this UTC day. */
export function createLlmGlobalSpend({ litellm, epoch, now }: LlmGlobalSpendOptions): Handler {
  return async ({ method, path, query }, { signal }) => {
    if (path !== '/') {
      throw new HttpError(404, `There is nothing at ${path}: ask for /`, { code: 'not_found' });
    }
    if (method !== 'GET') {
      throw new HttpError(405, `This function answers GET, not ${method}`, {
        code: 'method_not_allowed',
        headers: { Allow: 'GET' },
      });
    }
    const [parameter] = query.keys();
    if (parameter !== undefined) {
      throw new HttpError(400, `Unknown query parameter "${parameter}": this version takes none`, {
        code: 'unknown_parameter',
      });
    }
    const totals = await readTotals({
      readDays: (window, windowSignal) => litellm.spendByDay({ ...window, signal: windowSignal }),
      epoch,
      // Read once: a call across midnight belongs to the day on which it began.
      today: toDay(now()),
      signal,
    });
    return json(200, {
      global_spend: usdToNumber(totals.global),
      current_month_spend: usdToNumber(totals.currentMonth),
      today_spend: usdToNumber(totals.today),
    });
  };
}
