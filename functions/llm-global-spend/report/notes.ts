import type { PicoUsd } from '#shared/money.ts';
import { formatUsd } from '#shared/money.ts';
import type { Column } from '../cells/cell.ts';
import type { Day } from '../days.ts';
import type { Note } from './report.ts';

/** Something is known to be missing or different from what was asked. */
export interface Finding extends Note {
  isIncomplete: boolean;
}

const missing = (code: string, message: string): Finding => ({ code, message, isIncomplete: true });
const remark = (code: string, message: string): Finding => ({ code, message, isIncomplete: false });

export const notes = {
  proxyDays: (asked: string, zone: string) =>
    missing(
      'proxy_days',
      `LiteLLM gives these numbers by days of ${zone} only, and so they are; days of ${asked} need single requests, ` +
        'which this version does not give by date',
    ),
  scopedToUser: (userId: string) =>
    missing(
      'scoped_to_user',
      `LITELLM_API_KEY belongs to the internal user ${userId}, and LiteLLM shows it that user's spend alone: ` +
        'use the master key or a proxy_admin_viewer key',
    ),
  scopeUnknown: () =>
    remark('scope_unknown', 'LiteLLM does not tell the role of LITELLM_API_KEY: it may see a part of the spend only'),
  noHistory: (before: Day, spend: PicoUsd) =>
    missing(
      'no_history',
      `LiteLLM's daily tables know nothing from before ${before}, and these groups cannot be had elsewhere: ` +
        `${formatUsd(spend)} USD of earlier days are missing`,
    ),
  beforeEpoch: (epoch: Day) =>
    remark('before_epoch', `Days before LITELLM_EPOCH, ${epoch}, are taken to be without spend, and were not read`),
  logsDeleted: (spend: PicoUsd) =>
    missing(
      'logs_deleted',
      `LiteLLM's daily tables know of ${formatUsd(spend)} USD more than the spend logs that these groups come from: ` +
        'logs were deleted (maximum_spend_logs_retention_period) or switched off (disable_spend_logs)',
    ),
  tablesShort: (spend: PicoUsd) =>
    missing(
      'daily_tables_short',
      `LiteLLM's spend logs know of ${formatUsd(spend)} USD more than the daily tables that these numbers come from`,
    ),
  unchecked: () =>
    remark(
      'unchecked',
      'LiteLLM could not tell the same days by its other ledger, so that nothing is known of spend that this one may lack',
    ),
  moneyOnly: () =>
    remark('money_only', "LiteLLM's summary by day tells money alone: requests and tokens are not known here"),
  tagsOverlap: () =>
    remark('tags_overlap', 'A request counts for each of its tags, so that the groups may sum to more than the total'),
};

/** Which columns are only told by single requests. */
export const unsupported = (needed: readonly Column[]) =>
  `This version of LiteLLM does not tell spend by ${needed.join(' and ')}: it has day, month, user, model and key, one ` +
  'of them at a time. Update LiteLLM, or set ALLOW_FULL_SCAN=true, which reads every request at once';
