import { divideHalfEven, type PicoUsd } from '#shared/money.ts';

/** An exact decimal: digits × 10^-scale. */
export interface Decimal {
  digits: bigint;
  scale: number;
}

/** A plain decimal such as "1.2"; undefined for anything else. */
export function parseDecimal(text: string): Decimal | undefined {
  const [, whole = '', fraction = ''] = /^(\d{1,12})(?:\.(\d{1,18}))?$/.exec(text) ?? [];
  return whole === '' ? undefined : { digits: BigInt(whole + fraction), scale: fraction.length };
}

/** Lago keeps 15 decimals (PostgreSQL's decimal(40,15)). */
const lagoScale = 15;

function formatDecimal({ digits, scale }: Decimal): string {
  const rounded = scale > lagoScale ? divideHalfEven(digits, 10n ** BigInt(scale - lagoScale)) : digits;
  const places = Math.min(scale, lagoScale);
  const text = (rounded < 0n ? -rounded : rounded).toString().padStart(places + 1, '0');
  const fraction = text.slice(text.length - places).replace(/0+$/, '');
  const whole = text.slice(0, text.length - places);
  return `${rounded < 0n ? '-' : ''}${whole}${places === 0 || fraction === '' ? '' : `.${fraction}`}`;
}

const multiply = (left: Decimal, right: Decimal): Decimal => ({
  digits: left.digits * right.digits,
  scale: left.scale + right.scale,
});

const withoutMinorUnit = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF';
const withThousandths = 'BHD IQD JOD KWD LYD OMR TND';

/** How many decimals a currency's smallest unit has (ISO 4217): 0 for KRW, where Lago's "cents" are won. */
export function minorUnitOf(currency: string): number {
  if (withoutMinorUnit.split(' ').includes(currency)) return 0;
  return withThousandths.split(' ').includes(currency) ? 3 : 2;
}

/** One US dollar in the billing currency, from a moment on (inclusive, ms since 1970). */
export interface Rate {
  from: number;
  text: string;
  rate: Decimal;
}

export interface MoneyRules {
  /** What the plan bills in. */
  currency: string;
  /** Ascending; empty for USD. */
  rates: Rate[];
  markup: Decimal;
}

export interface Amount {
  /** In the billing currency, with the markup: a plain decimal. */
  amount: string;
  /** The same in the currency's smallest unit. */
  minorUnits: string;
  /** What a US dollar was at the call's time; undefined in USD. */
  rate: string | undefined;
}

/** The rate by the call's own time, so that every source and every replay finds the same. */
export const findRate = (rates: Rate[], at: number): Rate | undefined => rates.findLast(({ from }) => from <= at);

/** A cost in the billing currency, exact up to Lago's 15 decimals (half-even there); undefined where no rate is known for its day. */
export function toAmount(spend: PicoUsd, at: number, { currency, rates, markup }: MoneyRules): Amount | undefined {
  const rate = findRate(rates, at);
  if (rate === undefined && currency !== 'USD') return undefined;
  const usd = multiply({ digits: spend, scale: 12 }, markup);
  const exact = rate === undefined ? usd : multiply(usd, rate.rate);
  const places = BigInt(minorUnitOf(currency));
  return {
    amount: formatDecimal(exact),
    minorUnits: formatDecimal({ digits: exact.digits * 10n ** places, scale: exact.scale }),
    rate: rate?.text,
  };
}
