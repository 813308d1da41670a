/**
 * Money in millionths of a millionth of a US dollar (1e-12 USD). Per-token prices have fractions of a nano-dollar
 * (gpt-4o-mini's cached input is 0.000000075 USD), and sums of floats drift: an integer does neither.
 */
export type PicoUsd = bigint;

const picoDigits = 12;
const decimal = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?\s*$/;

/**
 * Reads a JSON number or a decimal string, exponents included ("1.5e-07"), rounded half-even at 1e-12 USD.
 * A JSON number is read from its shortest text, which is the very text that Python and JavaScript write for it.
 * Throws RangeError for anything that is not a finite decimal.
 */
export function parseUsd(value: number | string): PicoUsd {
  if (typeof value === 'number') {
    // Below 2 ** 48 the product is wrong by a sixteenth at most, so that an integer nearby is the right one.
    const pico = value * 1e12;
    const nearest = Math.round(pico);
    if (Math.abs(pico) < 2 ** 48 && Math.abs(pico - nearest) < 0.25) return BigInt(nearest);
  }
  const match = decimal.exec(String(value));
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole + fraction === '') throw new RangeError('not a decimal number of US dollars');
  const digits = BigInt(whole + fraction);
  const shift = picoDigits + Number(exponent) - fraction.length;
  const pico = shift >= 0 ? digits * 10n ** BigInt(shift) : divideHalfEven(digits, 10n ** BigInt(-shift));
  return sign === '-' ? -pico : pico;
}

/** Integer division that rounds to the nearest, ties to even; the divisor is positive. */
export function divideHalfEven(dividend: bigint, divisor: bigint): bigint {
  const negative = dividend < 0n;
  const absolute = negative ? -dividend : dividend;
  const quotient = absolute / divisor;
  const twice = (absolute % divisor) * 2n;
  const rounded = twice > divisor || (twice === divisor && quotient % 2n === 1n) ? quotient + 1n : quotient;
  return negative ? -rounded : rounded;
}

/** A plain decimal string without exponent or trailing zeros: "0.00133", "-2", "0". Lago skips exponents silently. */
export function formatUsd(pico: PicoUsd): string {
  const absolute = (pico < 0n ? -pico : pico).toString().padStart(picoDigits + 1, '0');
  const fraction = absolute.slice(-picoDigits).replace(/0+$/, '');
  return `${pico < 0n ? '-' : ''}${absolute.slice(0, -picoDigits)}${fraction === '' ? '' : `.${fraction}`}`;
}

/** The nearest JSON number; only for answers whose contract asks for a number. */
export function usdToNumber(pico: PicoUsd): number {
  return Number(formatUsd(pico));
}
