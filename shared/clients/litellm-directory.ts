import { UpstreamError } from '../errors.ts';

export interface KeyEntry {
  /** The sha256 of the key. */
  hash: string;
  alias: string | null;
  userId: string | null;
  teamId: string | null;
}

export interface UserEntry {
  id: string;
  email: string | null;
}

export interface TeamEntry {
  id: string;
  alias: string | null;
}

/** A customer of the proxy's own customers: whom requests name in `user`. */
export interface EndUserEntry {
  id: string;
  alias: string | null;
}

/** What the key of ours may see. */
export type Scope = { sees: 'everything' } | { sees: 'one user'; userId: string } | { sees: 'unknown' };

type Read = (path: string, query: Record<string, string>, signal?: AbortSignal) => Promise<unknown>;
type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
const toName = (value: unknown) => (typeof value === 'string' && value !== '' ? value : null);
const toEntries = (body: unknown) => (Array.isArray(body) ? body.filter(isFields) : []);
const isStatus = (error: unknown, ...statuses: number[]) =>
  error instanceof UpstreamError && error.status !== undefined && statuses.includes(error.status);

/** Who there is beside the spend logs, for names. Entries without an id are left out. */
export function createDirectoryReader(read: Read) {
  return {
    async keys(signal?: AbortSignal): Promise<KeyEntry[]> {
      return toEntries(await read('/spend/keys', {}, signal)).flatMap((item) => {
        const hash = toName(item.token);
        if (hash === null) return [];
        return [{ hash, alias: toName(item.key_alias), userId: toName(item.user_id), teamId: toName(item.team_id) }];
      });
    },

    async users(signal?: AbortSignal): Promise<UserEntry[]> {
      return toEntries(await read('/spend/users', {}, signal)).flatMap((item) => {
        const id = toName(item.user_id);
        return id === null ? [] : [{ id, email: toName(item.user_email) }];
      });
    },

    async teams(signal?: AbortSignal): Promise<TeamEntry[]> {
      return toEntries(await read('/team/list', {}, signal)).flatMap((item) => {
        const id = toName(item.team_id);
        return id === null ? [] : [{ id, alias: toName(item.team_alias) }];
      });
    },

    /** Those whom LiteLLM keeps a budget or an alias for, or has seen; more may be in the spend logs. */
    async endUsers(signal?: AbortSignal): Promise<EndUserEntry[]> {
      return toEntries(await read('/customer/list', {}, signal)).flatMap((item) => {
        const id = toName(item.user_id);
        return id === null ? [] : [{ id, alias: toName(item.alias) }];
      });
    },

    /**
     * LiteLLM does not refuse an internal user's key but shows it its own rows. The master key is in no table, which is
     * how it is known. What cannot be found out is "unknown".
     */
    async ownScope(signal?: AbortSignal): Promise<Scope> {
      try {
        const { info } = (await read('/key/info', {}, signal)) as { info?: Fields };
        const userId = toName(info?.user_id);
        if (userId === null) return { sees: 'unknown' };
        const { user_info: user } = (await read('/user/info', { user_id: userId }, signal)) as { user_info?: Fields };
        const role = toName(user?.user_role);
        if (role?.startsWith('internal_user')) return { sees: 'one user', userId };
        return { sees: role?.startsWith('proxy_admin') ? 'everything' : 'unknown' };
      } catch (error) {
        if (isStatus(error, 404) && /Key not found/i.test((error as UpstreamError).detail))
          return { sees: 'everything' };
        if (isStatus(error, 400, 403, 404, 405, 422, 500)) return { sees: 'unknown' };
        throw error;
      }
    },
  };
}
