import { toPlainDecimal } from '../provision/decimal.ts';

const places = 18;

/** 1e-18 units of a decimal, exact for all that Lago keeps; 0 for what is no number, as Lago's own sum has it. */
export function toScaled(value: unknown): bigint {
  if (typeof value !== 'string' && typeof value !== 'number') return 0n;
  let text: string;
  try {
    text = toPlainDecimal(value);
  } catch {
    return 0n;
  }
  const [whole = '0', fraction = ''] = text.replace('-', '').split('.');
  const scaled = BigInt(whole + fraction.slice(0, places).padEnd(places, '0'));
  return text.startsWith('-') ? -scaled : scaled;
}

export function formatScaled(value: bigint): string {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, '0');
  return toPlainDecimal(`${value < 0n ? '-' : ''}${digits.slice(0, -places)}.${digits.slice(-places)}`);
}

export interface Sum {
  events: number;
  amount: string;
}

export function createSum() {
  let events = 0;
  let amount = 0n;
  return {
    add(value: unknown) {
      events += 1;
      amount += toScaled(value);
    },
    toJSON: (): Sum => ({ events, amount: formatScaled(amount) }),
  };
}
