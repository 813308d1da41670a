import * as z from 'zod';
import { createHttpClient } from '#shared/clients/http.ts';
import { toLagoRoot } from '#shared/clients/lago-http.ts';

export interface ApiKeyRequest {
  /** What Lago's page calls its apiUrl. */
  baseUrl: string;
  email: string;
  password: string;
  /** Needed where the user belongs to more than one. */
  organizationId?: string | undefined;
  /** Needed where the organization has more than one key. */
  keyName?: string | undefined;
}

const answer = z.object({
  data: z.unknown().optional(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        extensions: z.object({ code: z.string().optional(), details: z.unknown().optional() }).optional(),
      }),
    )
    .optional(),
});

const loginQuery = `mutation($input: LoginUserInput!) {
  loginUser(input: $input) { token user { id memberships { organization { id name } } } }
}`;
const keysQuery = 'query { apiKeys(page: 1, limit: 100) { collection { id name value } } }';
const keyQuery = 'query($id: ID!) { apiKey(id: $id) { id value } }';
/** Every version has this one; with several keys it gives any of them. */
const oldQuery = 'query { organization { id apiKey } }';

const session = z.object({
  loginUser: z.object({
    token: z.string(),
    user: z.object({
      memberships: z.array(z.object({ organization: z.object({ id: z.string(), name: z.string() }) })),
    }),
  }),
});
const keys = z.object({
  apiKeys: z.object({ collection: z.array(z.object({ id: z.string(), name: z.string().nullish() })) }),
});

class GraphqlError extends Error {
  readonly isUnknownField: boolean;
  constructor(message: string, isUnknownField: boolean) {
    super(message);
    this.isUnknownField = isUnknownField;
  }
}

/**
 * Logs in as Lago's page does and reads the organization's API key: by the key list since 1.15.1, which the page shows
 * masked, by the organization before. Errors are sentences, and hold no password and no token.
 */
export async function fetchApiKey({
  baseUrl,
  email,
  password,
  organizationId,
  keyName,
}: ApiKeyRequest): Promise<string> {
  const http = createHttpClient({ service: 'Lago', baseUrl: toLagoRoot(baseUrl), timeoutMs: 15_000 });

  async function ask<T>(
    query: string,
    variables: object,
    schema: z.ZodType<T>,
    headers: Record<string, string>,
  ): Promise<T> {
    const { body } = await http.requestJson({ method: 'POST', path: '/graphql', json: { query, variables }, headers });
    // GraphQL's errors come with status 200.
    const { data, errors = [] } = answer.parse(body);
    const [first] = errors;
    if (first !== undefined) {
      const isUnknownField = /doesn't exist on type/.test(first.message) || first.extensions?.code === 'undefinedField';
      const details = first.extensions?.details;
      throw new GraphqlError(`Lago: ${first.message}${details ? ` ${JSON.stringify(details)}` : ''}`, isUnknownField);
    }
    const parsed = schema.safeParse(data);
    if (parsed.success) return parsed.data;
    throw new Error("Lago's answer is not what was asked for: is this Lago's API, and may this user see its keys?");
  }

  const { loginUser } = await ask(loginQuery, { input: { email, password } }, session, {});
  const organizations = loginUser.user.memberships.map(({ organization }) => organization);
  const chosen =
    organizationId === undefined && organizations.length === 1
      ? organizations[0]
      : organizations.find(({ id }) => id === organizationId);
  if (chosen === undefined) {
    const shown = organizations.map(({ id, name }) => `${id} (${name})`).join(', ');
    throw new Error(`Say which organization by --organization: ${shown || 'this user belongs to none'}`);
  }
  const headers = { Authorization: `Bearer ${loginUser.token}`, 'x-lago-organization': chosen.id };

  try {
    const { collection } = (await ask(keysQuery, {}, keys, headers)).apiKeys;
    const found = collection.filter(({ name }) => keyName === undefined || name === keyName);
    const [key] = found;
    if (key === undefined || found.length > 1) {
      const shown = collection.map(({ name }) => name ?? 'without a name').join(', ');
      throw new Error(`Say which key by --name: ${shown || 'there is none'}`);
    }
    const whole = z.object({ apiKey: z.object({ value: z.string() }) });
    return (await ask(keyQuery, { id: key.id }, whole, headers)).apiKey.value;
  } catch (error) {
    if (!(error instanceof GraphqlError && error.isUnknownField)) throw error;
    const whole = z.object({ organization: z.object({ apiKey: z.string() }) });
    return (await ask(oldQuery, {}, whole, headers)).organization.apiKey;
  }
}
