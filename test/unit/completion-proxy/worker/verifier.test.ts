import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { signedMessage } from '../../../../functions/completion-proxy/vast/signature.ts';
import { createReplayCheck, createVerifier } from '../../../../functions/completion-proxy/worker/verifier.ts';

const makeKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const pemOf = ({ publicKey }: ReturnType<typeof makeKey>) => String(publicKey.export({ type: 'spki', format: 'pem' }));

function signedWith({ privateKey }: ReturnType<typeof makeKey>, reqnum = 1) {
  const auth = {
    cost: '1.0',
    endpoint: '"e"',
    reqnum: String(reqnum),
    request_idx: '1',
    signature: '""',
    url: '"http://a"',
  };
  const signature = sign('sha256', Buffer.from(signedMessage('five-fields', auth)), privateKey).toString('base64');
  return { ...auth, signature: JSON.stringify(signature) };
}

/** What each fetch of the key gives, in order; the last one stays. */
function start(...answers: (string | Error)[]) {
  const waits: number[] = [];
  const lines: string[] = [];
  let fetches = 0;
  let now = 0;
  const verifier = createVerifier({
    async fetchKey() {
      const next = answers[Math.min(fetches, answers.length - 1)]!;
      fetches += 1;
      if (next instanceof Error) throw next;
      return next;
    },
    forms: ['url', 'five-fields'],
    refreshEveryMs: 10_000,
    log: createLogger({ write: (line) => lines.push(line) }),
    now: () => now,
    async sleep(ms) {
      waits.push(ms);
      if (waits.length === 9) verifier.close();
    },
  });
  return { verifier, waits, lines, fetches: () => fetches, pass: (ms: number) => (now += ms) };
}

describe('the public key', () => {
  const down = new Error('no connection');

  it('is asked for again and again, ever more slowly up to half a minute, until the worker stops', async () => {
    const { verifier, waits, lines } = start(down);
    await verifier.start();
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    expect(lines.filter((line) => line.includes('calls cannot be checked'))).toHaveLength(9);
    // And it never takes a call for right because of that.
    expect(await verifier.verify(signedWith(makeKey()))).toBe('no-key');
  });

  it('may come late, and after answers that are no key', async () => {
    const key = makeKey();
    const { verifier, waits } = start(down, '<html>bad gateway</html>', '', pemOf(key));
    await verifier.start();
    expect(waits).toEqual([1_000, 2_000, 4_000]);
    expect(await verifier.verify(signedWith(key))).toBe('five-fields');
  });

  it('is asked for again by a signature that does not match, once in a while', async () => {
    const [old, next] = [makeKey(), makeKey()];
    const { verifier, fetches, pass } = start(pemOf(old), pemOf(next));
    await verifier.start();
    expect(await verifier.verify(signedWith(next))).toBe('no');
    expect(fetches()).toBe(1);
    pass(10_000);
    const both = await Promise.all([verifier.verify(signedWith(next)), verifier.verify(signedWith(next))]);
    expect([both, fetches()]).toEqual([['five-fields', 'five-fields'], 2]);
    expect(await verifier.verify(signedWith(old))).toBe('no');
  });

  it('stays when another one does not come', async () => {
    const key = makeKey();
    const { verifier, lines, pass } = start(pemOf(key), down);
    await verifier.start();
    pass(10_000);
    expect(await verifier.verify(signedWith(makeKey()))).toBe('no');
    expect(await verifier.verify(signedWith(key))).toBe('five-fields');
    expect(lines.join()).toContain('could not be asked for again');
  });
});

describe('signatures of a wrong form', () => {
  const key = makeKey();
  it.each(['', '====', 'AA', 'A'.repeat(100_000), 'ö', '\u0000', 'null'])(
    'as %j are refused, and nothing breaks',
    async (text) => {
      const { verifier } = start(pemOf(key));
      await verifier.start();
      expect(await verifier.verify({ ...signedWith(key), signature: JSON.stringify(text) })).toBe('no');
    },
  );

  it('one bit beside the right one is wrong', async () => {
    const { verifier } = start(pemOf(key));
    await verifier.start();
    const auth = signedWith(key);
    const bytes = Buffer.from(JSON.parse(auth.signature) as string, 'base64');
    bytes[100]! ^= 1;
    expect(await verifier.verify({ ...auth, signature: JSON.stringify(bytes.toString('base64')) })).toBe('no');
  });
});

describe('the replay check', () => {
  const key = makeKey();

  it('refuses the last hundred, and signed numbers far behind the highest', () => {
    const check = createReplayCheck();
    for (let reqnum = 1_000; reqnum < 1_150; reqnum++) check.note(signedWith(key, reqnum), 'five-fields');
    expect(check.isReplay(signedWith(key, 1_149), 'five-fields')).toBe(true);
    expect(check.isReplay(signedWith(key, 1_050), 'five-fields')).toBe(true);
    expect(check.isReplay(signedWith(key, 1_048), 'five-fields')).toBe(true);
    expect(check.isReplay(signedWith(key, 1_150), 'five-fields')).toBe(false);
  });

  it('learns no number from who only signed an address', () => {
    const check = createReplayCheck();
    check.note(signedWith(key, 9_000_000), 'url');
    expect(check.isReplay(signedWith(key, 5), 'url')).toBe(false);
    expect(check.isReplay(signedWith(key, 5), 'five-fields')).toBe(false);
    expect(check.isReplay(signedWith(key, 9_000_000), 'url')).toBe(true);
  });
});
