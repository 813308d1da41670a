import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuthData,
  readAuthMembers,
  readAuthQuery,
  toAuthJson,
  toAuthQuery,
  toPythonString,
} from '../../../../functions/completion-proxy/vast/auth-data.ts';
import { rawMembers } from '../../../../functions/completion-proxy/vast/raw-json.ts';
import {
  matchingForm,
  parsePublicKey,
  signatureForms,
  signedMessage,
} from '../../../../functions/completion-proxy/vast/signature.ts';

const { public_key, vectors } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../fixtures/vast/vectors.json'), 'utf8'),
) as { public_key: string; vectors: { form: string; auth_data: string; message: string }[] };

const read = (text: string): AuthData => {
  const { auth, problems } = readAuthMembers(rawMembers(text)!);
  expect(problems).toEqual({});
  return auth;
};

describe("Python's signatures", () => {
  it('are of every form, and of numbers and texts that JavaScript writes otherwise', () => {
    const all = vectors.map(({ message }) => message).join();
    for (const piece of ['1.0', '1e-07', '1e+22', '242.0', '\\u00f6', '\\ud83d\\ude00', '\\u2028', '/a/b']) {
      expect(all).toContain(piece);
    }
    expect(new Set(vectors.map(({ form }) => form))).toEqual(new Set(signatureForms));
  });

  it.each(vectors.map((vector, index) => [index, vector.form, vector] as const))(
    'vector %i: the form %s matches, and no other',
    (_index, form, { auth_data, message }) => {
      const auth = read(auth_data);
      expect(signedMessage(form as 'url', auth)).toBe(message);
      expect(matchingForm(parsePublicKey(public_key), auth, signatureForms)).toBe(form);
      const others = signatureForms.filter((other) => other !== form);
      expect(matchingForm(parsePublicKey(public_key), auth, others)).toBeUndefined();
      // On its way through a query it is the same.
      const { auth: carried } = readAuthQuery(new URLSearchParams(toAuthQuery(auth)));
      expect(carried).toEqual(auth);
      expect(read(toAuthJson(auth))).toEqual(auth);
    },
  );

  it('are refused when a signed field is another, the number is written otherwise, or the key is another', () => {
    const { auth_data } = vectors.find(({ form }) => form === 'five-fields')!;
    const auth = read(auth_data);
    const key = parsePublicKey(public_key);
    expect(auth.cost).toBe('1.0');
    expect(matchingForm(key, { ...auth, cost: '1' }, signatureForms)).toBeUndefined();
    expect(matchingForm(key, { ...auth, url: '"http://other"' }, signatureForms)).toBeUndefined();
    expect(matchingForm(key, { ...auth, signature: '"nonsense"' }, signatureForms)).toBeUndefined();
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    expect(matchingForm(other, auth, signatureForms)).toBeUndefined();
  });

  it('need an RSA key, bare or in a JSON string', () => {
    expect(parsePublicKey(JSON.stringify(public_key)).asymmetricKeyType).toBe('rsa');
    expect(() => parsePublicKey('<html>')).toThrow();
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(() => parsePublicKey(String(publicKey.export({ type: 'spki', format: 'pem' })))).toThrow('not an RSA key');
  });
});

describe('auth_data', () => {
  it('names each field that is missing or of the wrong kind', () => {
    const { problems } = readAuthMembers(rawMembers('{"cost": "much", "reqnum": true, "url": 1, "signature": ""}')!);
    expect(problems).toEqual({
      cost: 'must be a number',
      endpoint: 'missing parameter',
      reqnum: 'must be a number',
      request_idx: 'missing parameter',
      url: 'must be a string',
    });
  });

  it('takes the cost as a text, as one of the predecessors sends it', () => {
    expect(readAuthMembers(rawMembers('{"cost": "242.0"}')!).auth.cost).toBe('242.0');
  });
});

describe('rawMembers', () => {
  it('gives every member as it was written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(3), (object, indent) => {
        const members = rawMembers(JSON.stringify(object, null, indent))!;
        const names = Object.keys(JSON.parse(JSON.stringify(object)) as object);
        expect([...members.keys()].toSorted()).toEqual(names.toSorted());
        for (const [name, raw] of members) {
          expect(JSON.parse(raw)).toEqual(JSON.parse(JSON.stringify(object[name])));
        }
      }),
    );
  });

  it('keeps the text of numbers, takes the last of equal names, and refuses what is no object or no JSON', () => {
    expect([...rawMembers(' { "a" : 1.0 , "b":[1e-07, "}"],"a":1e+22}')!]).toEqual([
      ['a', '1e+22'],
      ['b', '[1e-07, "}"]'],
    ]);
    expect(rawMembers('{}')!.size).toBe(0);
    expect([rawMembers('[1]'), rawMembers('1'), rawMembers('null')]).toEqual([undefined, undefined, undefined]);
    expect(() => rawMembers('{"a": 1')).toThrow(SyntaxError);
  });

  it('writes texts that are JSON, and the same text when read', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const written = toPythonString(text);
        return JSON.parse(written) === text && /^[ -~]*$/.test(written);
      }),
    );
  });
});
