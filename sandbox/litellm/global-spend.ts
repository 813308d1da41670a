import { sendJson } from '../server.ts';
import { dayMs } from './rows.ts';
import type { View } from './view.ts';

/** `GET /global/spend`: called global, and 30 days. Null without rows. */
export function answerGlobalSpend({ call, logs, now }: View) {
  const since = new Date(Math.floor(now.getTime() / dayMs) * dayMs - 30 * dayMs).toISOString();
  const found = logs().filter((row) => row.startTime >= since);
  const spend = found.length === 0 ? null : found.reduce((sum, row) => sum + row.spend, 0);
  sendJson(call.res, 200, { spend, max_budget: 0 });
}

/** `GET /global/spend/report`: for paying users. */
export function answerPaywall({ call }: View) {
  const error =
    '/spend/report endpoint You must be a LiteLLM Enterprise user to use this feature. If you have a license please ' +
    'set `LITELLM_LICENSE` in your env.';
  sendJson(call.res, 400, { detail: { error } });
}
