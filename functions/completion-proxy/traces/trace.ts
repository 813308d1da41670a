import { randomFillSync } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** Where a call stands in a trace (W3C Trace Context); `spanId` is our own part of it. */
export interface Trace {
  readonly traceId: string;
  /** The caller's span; undefined where the trace begins here. */
  readonly parentId: string | undefined;
  readonly spanId: string;
  readonly flags: string;
  /** What other tracers keep with the trace: passed on as it came. */
  readonly state: string | undefined;
}

// Random bytes are taken in stock: a call of the generator costs more than the rest of it.
const stock = Buffer.alloc(4_096);
let used = stock.length;

/** Never all zeros, which is no id. */
function randomHex(bytes: number): string {
  if (used + bytes > stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  const hex = stock.toString('hex', used, used + bytes);
  used += bytes;
  return /[^0]/.test(hex) ? hex : randomHex(bytes);
}

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?=$|-)/;
const maxStateMembers = 32;

/** A later version may say more; what we know of it stands at its beginning. */
function parseParent(text: string) {
  const [, version, traceId = '', parentId = '', flags = ''] = form.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && text.length !== 55)) return undefined;
  if (!/[^0]/.test(traceId) || !/[^0]/.test(parentId)) return undefined;
  // Sampled and random are the flags that there are.
  return { traceId, parentId, flags: (Number.parseInt(flags, 16) & 3).toString(16).padStart(2, '0') };
}

/** The caller's trace with a span of our own in it, or a new one, sampled, where none came or what came is not valid. */
export function readTrace({ traceparent, tracestate }: IncomingHttpHeaders): Trace {
  const parent = typeof traceparent === 'string' ? parseParent(traceparent.trim()) : undefined;
  const spanId = randomHex(8);
  if (parent === undefined) {
    return { traceId: randomHex(16), parentId: undefined, spanId, flags: '01', state: undefined };
  }
  const given = String(tracestate ?? '');
  const state = given !== '' && given.split(',').length <= maxStateMembers ? given : undefined;
  return { ...parent, spanId, state };
}

export const toTraceparent = ({ traceId, spanId, flags }: Trace) => `00-${traceId}-${spanId}-${flags}`;

export const isSampled = ({ flags }: Trace) => (Number.parseInt(flags, 16) & 1) === 1;
