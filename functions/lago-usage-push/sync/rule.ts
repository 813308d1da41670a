import * as z from 'zod';
import { HttpError } from '#shared/errors.ts';
import { readYaml } from '../provision/read-yaml.ts';

export const accountKinds = ['team', 'user', 'key', 'end_user'] as const;
export type AccountKind = (typeof accountKinds)[number];

/** Somebody of LiteLLM who may pay. */
export interface Account {
  /** As the events name it, the first choice first: a key's alias, then its hash. */
  ids: string[];
  name: string | null;
}

const pattern = z.string().min(1).max(200);
const code = z.string().trim().min(1);
const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()])
  .transform((text) => new Date(text).toISOString());

const syncRule = z.strictObject({
  /** Whose subscriptions these are. */
  for: z.enum(accountKinds),
  /** The plan of everybody whom no rule names; absent: those are skipped. */
  plan_code: code.optional(),
  /** The first that matches id or name decides; `*` stands for anything. */
  rules: z
    .array(
      z.union([
        z.strictObject({ match: pattern, plan_code: code }),
        z.strictObject({ match: pattern, skip: z.literal(true) }),
      ]),
    )
    .max(1000)
    .default([]),
  /** From when: usage before it is never billed. BILL_FROM where it is absent. */
  subscription_at: moment.optional(),
  billing_time: z.enum(['calendar', 'anniversary']).default('calendar'),
});

export type SyncRule = z.infer<typeof syncRule>;

/** Reads a plan rule, YAML or JSON. Throws HttpError 400 `bad_rule`. */
export async function parseSyncRule(text: string): Promise<SyncRule> {
  let value: unknown;
  try {
    value = await readYaml(text);
  } catch {
    throw new HttpError(400, 'The rule is neither YAML nor JSON', { code: 'bad_rule' });
  }
  const parsed = syncRule.safeParse(value);
  if (parsed.success && (parsed.data.plan_code !== undefined || parsed.data.rules.length > 0)) return parsed.data;
  const problems = parsed.success
    ? ['it names no plan_code']
    : parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the rule'}: ${message}`);
  throw new HttpError(400, `The rule has mistakes: ${problems.join('; ')}`, { code: 'bad_rule' });
}

/** Whether `text` is `glob`, where `*` is any text; without back-tracking, so that no pattern can hang us. */
export function isMatch(glob: string, text: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > text.length - last.length) return false;
    at = found + piece.length;
  }
  return true;
}

/** The plan of an account; undefined for one who is not billed. */
export function findPlanCode({ ids, name }: Account, rule: SyncRule): string | undefined {
  const names = name === null ? ids : [...ids, name];
  const found = rule.rules.find(({ match }) => names.some((text) => isMatch(match, text)));
  if (found === undefined) return rule.plan_code;
  return 'plan_code' in found ? found.plan_code : undefined;
}
