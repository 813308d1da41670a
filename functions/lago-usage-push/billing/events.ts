import type { LagoEvent } from '#shared/clients/lago.ts';
import { formatUsd } from '#shared/money.ts';
import { type Call, spendOf } from '../calls/call.ts';
import { type TokenType, tokenTypes } from '../calls/tokens.ts';
import { type Amount, type MoneyRules, toAmount } from './money.ts';

export const eventModes = ['cost', 'tokens', 'litellm'] as const;
export type EventMode = (typeof eventModes)[number];

export interface EventRules {
  mode: EventMode;
  /** The metric of `cost` and `litellm`; `tokens` has a metric for each type. */
  code: string;
  money: MoneyRules;
  /** As it was written, for the event's property. */
  markupText: string;
}

/** Lago's own codes (its agent SDK's). */
export const tokenCodes: Record<TokenType, string> = {
  input: 'llm_input_tokens',
  output: 'llm_output_tokens',
  cached_input: 'llm_cached_input_tokens',
  cache_creation: 'llm_cache_creation_tokens',
  reasoning: 'llm_reasoning_tokens',
  audio_input: 'llm_audio_input_tokens',
  audio_output: 'llm_audio_output_tokens',
  image_input: 'llm_image_input_tokens',
};

// PostgreSQL's jsonb cannot hold this character: Lago would answer 500 for ever.
const clean = (text: string) => text.replaceAll('\u0000', '');

/** Unix seconds with three decimals, without a float in between. */
export function toTimestamp(ms: number): string {
  return `${Math.floor(ms / 1000)}.${String(ms % 1000).padStart(3, '0')}`;
}

/**
 * A call's events for the subscription that pays; undefined where the currency has no rate for its day. `billedAt` is
 * another time than the call's own only where its period was closed, and then `usage_date` keeps the true one.
 */
export function toEvents(
  call: Call,
  { subscription, billedAt }: { subscription: string; billedAt: number },
  { mode, code, money, markupText }: EventRules,
): LagoEvent[] | undefined {
  const common = {
    model: clean(call.model),
    // The callback's shape has no provider.
    ...(call.provider === null || mode === 'litellm' ? {} : { provider: clean(call.provider) }),
    ...(billedAt === call.startedAt ? {} : { usage_date: new Date(call.startedAt).toISOString() }),
    ...(call.isEstimated ? { estimated: 'true' } : {}),
  };
  const toEvent = (
    suffix: string,
    eventCode: string,
    properties: Record<string, string>,
    amount?: Amount,
  ): LagoEvent => ({
    transaction_id: call.id + suffix,
    external_subscription_id: subscription,
    code: eventCode,
    timestamp: toTimestamp(billedAt),
    ...(amount === undefined ? {} : { precise_total_amount_cents: amount.minorUnits }),
    properties,
  });

  if (mode === 'tokens') {
    return tokenTypes.flatMap((type) => {
      const count = call.tokens[type];
      if (count === undefined) return [];
      return [toEvent(`-${type}`, tokenCodes[type], { ...common, value: String(count), token_type: type })];
    });
  }

  const amount = toAmount(spendOf(call), call.startedAt, money);
  if (amount === undefined) return undefined;
  const exchange = amount.rate === undefined ? {} : { currency: money.currency, fx_rate: amount.rate };
  const markup = markupText === '1' ? {} : { markup: markupText };
  const base = markupText === '1' && amount.rate === undefined ? {} : { base_cost: formatUsd(spendOf(call)) };
  if (mode === 'litellm') {
    return [
      toEvent('', code, {
        ...common,
        response_cost: amount.amount,
        prompt_tokens: String(call.prompt),
        completion_tokens: String(call.completion),
        total_tokens: String(call.total),
        ...base,
        ...markup,
        ...exchange,
      }),
    ];
  }
  // A dynamic charge bills nothing for a group whose units are 0, so that a call is one unit whatever it used.
  return [toEvent('', code, { ...common, cost: amount.amount, unit: '1', ...base, ...markup, ...exchange }, amount)];
}
