import { type SandboxCall, sendJson } from '../server.ts';
import { sendProxyError } from './answers.ts';
import { endUsers, hashKey, holders } from './rows.ts';

export interface DirectoryKey {
  /** The sha256 of the key. */
  token: string;
  key_alias: string | null;
  user_id: string | null;
  team_id: string | null;
  spend: number;
  max_budget: number | null;
}

export interface DirectoryUser {
  user_id: string;
  user_email: string | null;
  user_role: 'proxy_admin' | 'proxy_admin_viewer' | 'internal_user' | 'internal_user_viewer';
  spend: number;
}

export interface DirectoryTeam {
  team_id: string;
  team_alias: string | null;
}

/** Who there is beside the spend logs. What is deleted here stays in the rows. */
export interface Directory {
  keys: DirectoryKey[];
  users: DirectoryUser[];
  teams: DirectoryTeam[];
  /** LiteLLM's customers. */
  endUsers: { user_id: string; alias: string | null }[];
}

export const masterKey = 'sk-sandbox';
/** A key that may read everything and change nothing. */
export const viewerKey = 'sk-auditor';
/** A viewer's key whose budget is used up: refused before any route. */
export const spentKey = 'sk-spent';

export function createDirectory(): Directory {
  const key = (text: string, rest: Partial<DirectoryKey>): DirectoryKey => ({
    token: hashKey(text),
    key_alias: null,
    user_id: null,
    team_id: null,
    spend: 0,
    max_budget: null,
    ...rest,
  });
  const auditor: DirectoryUser = {
    user_id: 'auditor',
    user_email: 'auditor@example.com',
    user_role: 'proxy_admin_viewer',
    spend: 0,
  };
  return {
    keys: [
      ...holders.map((holder) =>
        key(holder.key, { key_alias: holder.alias, user_id: holder.user, team_id: holder.team || null }),
      ),
      key(viewerKey, { key_alias: 'auditor', user_id: 'auditor' }),
      key(spentKey, { key_alias: 'spent', user_id: 'auditor', spend: 5, max_budget: 1 }),
    ],
    users: [
      ...holders.map(
        ({ user }): DirectoryUser => ({
          user_id: user,
          user_email: user === 'default_user_id' ? null : `${user}@example.com`,
          user_role: user === 'default_user_id' ? 'proxy_admin' : 'internal_user',
          spend: 0,
        }),
      ),
      auditor,
    ],
    teams: [...new Map(holders.filter(({ team }) => team !== '').map((holder) => [holder.team, holder.teamAlias]))].map(
      ([team_id, team_alias]) => ({ team_id, team_alias }),
    ),
    endUsers: endUsers.filter((id) => id !== '').map((user_id) => ({ user_id, alias: null })),
  };
}

/** Who calls: the whole proxy's view, or one internal user's. */
export type Scope = { userId: string | null };

function presentedKey({ headers }: SandboxCall): string | undefined {
  const bearer = /^Bearer\s+(.+)$/i.exec(headers.authorization ?? '')?.[1];
  const others = [headers['x-litellm-api-key'], headers['x-goog-api-key'], headers['x-api-key']];
  const first = others.find((value): value is string => typeof value === 'string');
  return bearer ?? first?.replace(/^Bearer\s+/i, '');
}

export function refusedKey(key: string) {
  return {
    message:
      `Authentication Error, Invalid proxy server token passed. Received API Key = sk-...${key.slice(-4)}, ` +
      `Key Hash (Token) =${hashKey(key)}. Unable to find token in cache or \`LiteLLM_VerificationTokenTable\``,
    type: 'token_not_found_in_db',
    param: 'key',
  };
}

/** Null when the call was refused, with the body that LiteLLM gives. An internal user is let in and sees its own rows. */
export function admit(call: SandboxCall, directory: Directory): Scope | null {
  const { res } = call;
  const key = presentedKey(call);
  if (key === masterKey) return { userId: null };
  if (key === undefined || key === '') {
    sendProxyError(res, 401, { message: 'Authentication Error, No api key passed in.', type: 'auth_error' });
    return null;
  }
  const known = directory.keys.find(({ token }) => token === hashKey(key));
  if (known === undefined) {
    sendProxyError(res, 401, refusedKey(key));
    return null;
  }
  if (known.max_budget !== null && known.spend > known.max_budget) {
    const message = `ExceededBudget: Crossed spend within budget. Current cost: ${known.spend}, Max budget: ${known.max_budget}`;
    sendProxyError(res, 400, { message, type: 'budget_exceeded' });
    return null;
  }
  const role = directory.users.find(({ user_id }) => user_id === known.user_id)?.user_role;
  return { userId: role?.startsWith('proxy_admin') ? null : (known.user_id ?? '') };
}

const notFound = (call: SandboxCall, message: string) =>
  sendProxyError(call.res, 404, { message, type: 'not_found_error', param: 'key' });

/** The lists and single entries of keys, users and teams. An internal user sees its own. */
export const directoryRoutes: Record<string, (call: SandboxCall, directory: Directory, scope: Scope) => void> = {
  '/spend/keys': ({ res }, { keys }, { userId }) =>
    sendJson(
      res,
      200,
      keys.filter(({ user_id }) => userId === null || user_id === userId),
    ),
  '/spend/users': ({ res }, { users }, { userId }) =>
    sendJson(
      res,
      200,
      users.filter(({ user_id }) => userId === null || user_id === userId),
    ),
  '/team/list': ({ res }, { teams }, { userId }) => sendJson(res, 200, userId === null ? teams : []),
  '/customer/list': ({ res }, { endUsers: listed }, { userId }) => sendJson(res, 200, userId === null ? listed : []),
  '/key/info': (call, { keys }) => {
    const wanted = call.query.get('key') ?? presentedKey(call) ?? '';
    const token = wanted.startsWith('sk-') ? hashKey(wanted) : wanted;
    const info = keys.find((key) => key.token === token);
    // The master key is in no table.
    if (info === undefined) return notFound(call, 'Key not found in database');
    return sendJson(call.res, 200, { key: wanted, info });
  },
  '/user/info': (call, { users, keys, teams }) => {
    const id = call.query.get('user_id');
    const user = users.find(({ user_id }) => user_id === id);
    if (user === undefined) return notFound(call, `User ${id} not found`);
    const own = keys.filter(({ user_id }) => user_id === id);
    const teamIds = new Set(own.map(({ team_id }) => team_id));
    const ownTeams = teams.filter(({ team_id }) => teamIds.has(team_id));
    return sendJson(call.res, 200, { user_id: id, user_info: user, keys: own, teams: ownTeams });
  },
};
