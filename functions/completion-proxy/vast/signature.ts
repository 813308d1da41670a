import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { AuthData, AuthField } from './auth-data.ts';

/** `{"a": 1, "b": 2}` with Python's `indent=4`, */
const indented = (auth: AuthData, fields: readonly AuthField[]) =>
  `{\n${fields.map((field) => `    "${field}": ${auth[field]}`).join(',\n')}\n}`;

/** and without. */
const compact = (auth: AuthData, fields: readonly AuthField[]) =>
  `{${fields.map((field) => `"${field}": ${auth[field]}`).join(', ')}}`;

const five = ['cost', 'endpoint', 'reqnum', 'request_idx', 'url'] as const;

/** What was signed, by the time at which Vast's own worker checked it: each a Python json.dumps. */
const forms = {
  /** Since December 2025 (SDK 1.0.1). */
  url: (auth: AuthData) => indented(auth, ['url']),
  /** From October 2025. */
  'five-fields': (auth: AuthData) => indented(auth, five),
  'five-fields-compact': (auth: AuthData) => compact(auth, five),
  /** Before that. */
  'four-fields': (auth: AuthData) => indented(auth, ['cost', 'endpoint', 'reqnum', 'url']),
};

export type SignatureForm = keyof typeof forms;
export const signatureForms = Object.keys(forms) as SignatureForm[];

export const signedMessage = (form: SignatureForm, auth: AuthData): string => forms[form](auth);

/** Reads a PEM public key, bare or as a JSON string. Throws when it is none, or not RSA. */
export function parsePublicKey(text: string): KeyObject {
  const trimmed = text.trim();
  const key = createPublicKey(trimmed.startsWith('"') ? (JSON.parse(trimmed) as string) : trimmed);
  if (key.asymmetricKeyType !== 'rsa') throw new Error('The public key is not an RSA key');
  return key;
}

/** Which of `accepted` the signature is right for (RSASSA-PKCS1-v1_5 with SHA-256); undefined is none. */
export function matchingForm(
  key: KeyObject,
  auth: AuthData,
  accepted: readonly SignatureForm[],
): SignatureForm | undefined {
  const signature = Buffer.from(JSON.parse(auth.signature) as string, 'base64');
  return accepted.find((form) => verify('sha256', Buffer.from(signedMessage(form, auth)), key, signature));
}
