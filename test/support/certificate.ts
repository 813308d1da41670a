import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** DER: a tag, the length, the content. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 128
      ? Buffer.from([length])
      : length < 256
        ? Buffer.from([0x81, length])
        : Buffer.from([0x82, length >> 8, length & 255]);
  return Buffer.concat([Buffer.from([tag]), size, content]);
}

const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));
const name = (text: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))));
const time = (ms: number) =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
const extension = (id: string, critical: boolean, value: Buffer) =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([255]))] : []), der(0x04, value));
const pem = (label: string, bytes: Buffer) =>
  `-----BEGIN ${label}-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;

export interface Authority {
  name: string;
  key: KeyObject;
  /** Its own certificate, which a client trusts. */
  cert: string;
}

function issue(subject: string, subjectKey: KeyObject, issuer: { name: string; key: KeyObject }, isAuthority: boolean) {
  const address = der(0x87, Buffer.from([127, 0, 0, 1]));
  const extensions = isAuthority
    ? [extension('551d13', true, sequence(der(0x01, Buffer.from([255]))))]
    : [extension('551d11', false, sequence(address))];
  const certificate = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    name(issuer.name),
    sequence(time(Date.now() - 3_600_000), time(Date.now() + 3_600_000)),
    name(subject),
    subjectKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', certificate, issuer.key);
  const bitString = der(0x03, Buffer.from([0]), signature);
  return pem('CERTIFICATE', sequence(certificate, ecdsaWithSha256, bitString));
}

/** An authority of an hour's life, made anew for each run: no key lies in the repository. */
export function createAuthority(authorityName = 'test authority'): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = issue(authorityName, publicKey, { name: authorityName, key: privateKey }, true);
  return { name: authorityName, key: privateKey, cert };
}

/** A server's key and certificate for 127.0.0.1. */
export function createServerCertificate(authority: Authority): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = issue('127.0.0.1', publicKey, authority, false);
  return { key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), cert };
}
