import type { LagoProfile } from '../lago-events.ts';
import { type SandboxCall, sendJson } from '../server.ts';
import { organizationId } from './routes.ts';

export const login = { email: 'admin@sandbox.test', password: 'lago-sandbox-password' };
const token = 'sandbox-jwt';
const keyId = '2b902b90-2b90-4b90-8b90-2b902b902b90';

const sendError = ({ res }: SandboxCall, message: string, extensions: object) =>
  sendJson(res, 200, { errors: [{ message, extensions }] });

/** What Lago's page uses: the login, and the API key by the query of its version. Errors come as 200. */
export function answerGraphql(call: SandboxCall, profile: LagoProfile, apiKey: string) {
  const { res, headers } = call;
  const { query = '', variables = {} } = (call.json ?? {}) as { query?: string; variables?: Record<string, unknown> };
  if (/\bloginUser\b/.test(query)) {
    const input = (variables.input ?? {}) as Partial<typeof login>;
    if (input.email !== login.email || input.password !== login.password) {
      const details = { base: ['incorrect_login_or_password'] };
      return sendError(call, 'Unprocessable Entity', { status: 422, code: 'unprocessable_entity', details });
    }
    const organization = { id: organizationId, name: 'Sandbox' };
    const user = { id: 'user-1', memberships: [{ organization }] };
    return sendJson(res, 200, { data: { loginUser: { token, user } } });
  }
  if (headers.authorization !== `Bearer ${token}`) {
    return sendError(call, 'unauthorized', { status: 'unauthorized', code: 'unauthorized' });
  }
  if (headers['x-lago-organization'] !== organizationId) {
    return sendError(call, 'Missing organization id', { status: 'forbidden', code: 'forbidden' });
  }
  if (/\borganization\s*\{[^}]*\bapiKey\b/.test(query)) {
    return sendJson(res, 200, { data: { organization: { id: organizationId, apiKey } } });
  }
  const field = /\b(apiKeys|apiKey)\b/.exec(query)?.[1];
  if (field === undefined || profile === '1.12') {
    const message = `Field '${field ?? 'unknown'}' doesn't exist on type 'Query'`;
    return sendError(call, message, { code: 'undefinedField', typeName: 'Query', fieldName: field ?? 'unknown' });
  }
  if (field === 'apiKeys') {
    const masked = `••••••••${apiKey.slice(-3)}`;
    const collection = [
      { id: keyId, name: 'Default', value: masked, createdAt: '2026-01-01T00:00:00Z', expiresAt: null },
    ];
    return sendJson(res, 200, { data: { apiKeys: { collection, metadata: { currentPage: 1, totalPages: 1 } } } });
  }
  if (variables.id !== keyId) return sendError(call, 'Resource not found', { status: 404, code: 'not_found' });
  return sendJson(res, 200, { data: { apiKey: { id: keyId, value: apiKey } } });
}
