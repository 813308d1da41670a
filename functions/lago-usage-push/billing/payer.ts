import { type Call, isOfKey } from '../calls/call.ts';

const columns = {
  end_user: (call: Call) => [call.endUser],
  user: (call: Call) => [call.user],
  team: (call: Call) => [call.team],
  organization: (call: Call) => [call.organization],
  // The alias is what people name; the hash stays the same when they rename it.
  key: (call: Call) => [call.keyAlias, call.keyHash],
} as const;

type Column = keyof typeof columns;

/** Whose id leads to the subscription. LiteLLM's own names (`end_user_id`) stand for the columns. */
export type ChargeBy = { by: Column } | { by: 'tag' | 'metadata'; field: string };

/** `end_user_id`, `user_id`, `team_id`, a column, `tag:<name>` or `metadata:<field>`; undefined for anything else. */
export function parseChargeBy(text: string): ChargeBy | undefined {
  const plain = text.replace(/^(end_user|user|team)_id$/, '$1');
  if (Object.hasOwn(columns, plain)) return { by: plain as Column };
  const [, by, field] = /^(tag|metadata):(.+)$/.exec(text) ?? [];
  return by === undefined || field === undefined ? undefined : { by: by as 'tag' | 'metadata', field };
}

/** The value of a tag such as `customer:acme` or `customer=acme`. */
function findTag(tags: string[], field: string): string | undefined {
  const tag = tags.find((item) => item.startsWith(`${field}:`) || item.startsWith(`${field}=`));
  return tag?.slice(field.length + 1);
}

function findIds(call: Call, chargeBy: ChargeBy): string[] {
  const found =
    // A usage record knows its caller and its end user, and nothing of LiteLLM's teams, keys and tags.
    call.source === 'usage' && chargeBy.by !== 'end_user' && chargeBy.by !== 'metadata'
      ? [call.user]
      : chargeBy.by === 'tag'
        ? [findTag(call.tags, chargeBy.field)]
        : chargeBy.by === 'metadata'
          ? [Object.hasOwn(call.fields, chargeBy.field) ? call.fields[chargeBy.field] : undefined]
          : columns[chargeBy.by](call);
  // Lago strips its external ids, and PostgreSQL's text cannot hold a NUL.
  return found.map((id) => (id ?? '').replaceAll('\u0000', '').trim()).filter((id) => id !== '');
}

/** Whether LiteLLM's rows have this id from the request, which may say what it likes. */
export const namesPayerInRequest = (chargeBy: ChargeBy): boolean =>
  chargeBy.by === 'end_user' || chargeBy.by === 'tag' || (chargeBy.by === 'metadata' && !isOfKey(chargeBy.field));

/** Of a usage record only the end user and the wanted model are the request's words. */
function isChecked({ source }: Call, chargeBy: ChargeBy): boolean {
  if (source !== 'usage') return !namesPayerInRequest(chargeBy);
  return chargeBy.by === 'metadata' ? chargeBy.field !== 'requested_model' : chargeBy.by !== 'end_user';
}

export type Payer =
  | { subscription: string }
  /** Why nobody pays: the call names no one, names somebody that the mapping lacks, or names whom we do not trust it to. */
  | { unmapped: 'no_payer' | 'not_in_map' | 'untrusted_payer'; id: string | null };

export interface PayerRules {
  chargeBy: ChargeBy;
  /** False: who a request says it is for (its user, a tag, its metadata) is no reason to bill them. */
  trustRequestUser: boolean;
  /** Ids to subscriptions; undefined when the ids are the subscriptions. Read for each call, as it may change. */
  mapping: () => ReadonlyMap<string, string> | undefined;
  defaultSubscription: string | undefined;
}

/** Who pays for a call; the default where nobody is found and one is named. */
export function findPayer(call: Call, { chargeBy, trustRequestUser, mapping, defaultSubscription }: PayerRules): Payer {
  const ids = findIds(call, chargeBy);
  const map = mapping();
  const isTrusted = trustRequestUser || isChecked(call, chargeBy);
  const found = !isTrusted ? undefined : map === undefined ? ids[0] : ids.map((id) => map.get(id)).find(Boolean);
  const subscription = found ?? defaultSubscription;
  // Lago takes no slash in an external id.
  if (subscription !== undefined && !subscription.includes('/')) return { subscription };
  const [id = null] = ids;
  if (id === null) return { unmapped: 'no_payer', id };
  return { unmapped: isTrusted ? 'not_in_map' : 'untrusted_payer', id };
}
