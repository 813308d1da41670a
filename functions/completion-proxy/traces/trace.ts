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

function randomHex(bytes: number): string {
  if (used + bytes > stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  used += bytes;
  return stock.toString('hex', used - bytes, used);
}

const zeros = '0'.repeat(32);
/** All zeros are no id. */
const isId = (hex: string) => !zeros.startsWith(hex);

function createSpanId(): string {
  const hex = randomHex(8);
  return isId(hex) ? hex : createSpanId();
}

/** A trace that begins here: both ids in one go, since there is one for each call. */
function createTrace(): Trace {
  const hex = randomHex(24);
  const traceId = hex.slice(0, 32);
  const spanId = hex.slice(32);
  if (!isId(traceId) || !isId(spanId)) return createTrace();
  return { traceId, parentId: undefined, spanId, flags: '01', state: undefined };
}

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?=$|-)/;
const maxStateMembers = 32;

/** A later version may say more; what we know of it stands at its beginning. */
function parseParent(text: string) {
  const [, version, traceId = '', parentId = '', flags = ''] = form.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && text.length !== 55)) return undefined;
  if (!isId(traceId) || !isId(parentId)) return undefined;
  // Sampled and random are the flags that there are.
  return { traceId, parentId, flags: (Number.parseInt(flags, 16) & 3).toString(16).padStart(2, '0') };
}

/** The caller's trace with a span of our own in it, or a new one, sampled, where none came or what came is not valid. */
export function readTrace({ traceparent, tracestate }: IncomingHttpHeaders): Trace {
  const parent = typeof traceparent === 'string' ? parseParent(traceparent.trim()) : undefined;
  if (parent === undefined) return createTrace();
  const given = String(tracestate ?? '');
  const state = given !== '' && given.split(',').length <= maxStateMembers ? given : undefined;
  return { ...parent, spanId: createSpanId(), state };
}

export const toTraceparent = ({ traceId, spanId, flags }: Trace) => `00-${traceId}-${spanId}-${flags}`;

export const isSampled = ({ flags }: Trace) => (Number.parseInt(flags, 16) & 1) === 1;
