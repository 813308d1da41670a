const number = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/;

/**
 * A JSON number or decimal text as plain decimals without exponent or idle zeros, exact at any length, divided by
 * 10^`places`. Lago keeps prices as text of any precision. Throws RangeError for anything else.
 */
export function toPlainDecimal(value: number | string, places = 0): string {
  const match = number.exec(String(value).trim());
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole + fraction === '') throw new RangeError('not a decimal number');
  const point = whole.length + Number(exponent) - places;
  const digits = whole + fraction;
  const padded = point <= 0 ? '0'.repeat(1 - point) + digits : digits.padEnd(point, '0');
  const at = Math.max(point, 1);
  const before = padded.slice(0, at).replace(/^0+(?=\d)/, '');
  const after = padded.slice(at).replace(/0+$/, '');
  const text = after === '' ? before : `${before}.${after}`;
  return sign === '-' && text !== '0' ? `-${text}` : text;
}
