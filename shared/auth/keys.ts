import { createHmac, hash, timingSafeEqual } from 'node:crypto';

const digest = (text: string) => hash('sha256', text, 'buffer');

/** Constant time for any two lengths: digests are compared, never the texts. */
export function equalSecrets(left: string, right: string): boolean {
  return timingSafeEqual(digest(left), digest(right));
}

// A hash costs more than the rest of the check: keys of ordinary length are compared as they are, in room of one size.
const room = 512;

/** The text in a room of its own with its length at the end: two are equal only where the texts are. */
function toRoom(text: string, target = Buffer.alloc(room + 4)): Buffer {
  const bytes = Buffer.byteLength(text);
  target.fill(0);
  if (bytes <= room) target.write(text, 0, 'utf8');
  else digest(text).copy(target);
  target.writeUInt32LE(bytes, room);
  return target;
}

interface KnownKey {
  name: string;
  room: Buffer;
}

function parseKeys(lines: string): KnownKey[] {
  return lines.split(/\r?\n/).flatMap((line) => {
    const colon = line.indexOf(':');
    const key = line.slice(colon + 1).trim();
    return key === '' ? [] : [{ name: colon === -1 ? 'default' : line.slice(0, colon).trim(), room: toRoom(key) }];
  });
}

/** The names of the keys in the secret `function-api-key`. */
export const keyNames = (lines: string): string[] => parseKeys(lines).map(({ name }) => name);

// The secret is the same text on every call until it is rotated.
let parsed: { lines: string; keys: KnownKey[] } = { lines: '', keys: [] };
const presentedRoom = Buffer.alloc(room + 4);

/**
 * The name of the caller whose key was presented, or undefined. `lines` is the secret `function-api-key`: one
 * `name:key` a line, split at the first colon; a line without a colon is a key of the caller `default`.
 * Every line is compared in full, so that time does not tell which one matched, or how far.
 */
export function findCaller(lines: string, presented: string): string | undefined {
  if (parsed.lines !== lines) parsed = { lines, keys: parseKeys(lines) };
  const wanted = toRoom(presented, presentedRoom);
  let found: string | undefined;
  for (const known of parsed.keys) {
    if (timingSafeEqual(known.room, wanted)) found = known.name;
  }
  return found;
}

/** `sha256=<hex>` over the raw bytes, as GitHub, faas-cli (since 0.17.1) and our own webhooks send it. */
export function signBody(body: Buffer | string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}
