import { createHash } from 'node:crypto';
import type { LitellmClient, SpendRow } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Store } from '#shared/store/store.ts';
import { refuse } from './report/query.ts';

export const namedColumns = ['model', 'provider', 'user', 'team', 'key', 'end_user', 'tag'] as const;
export type NamedColumn = (typeof namedColumns)[number];

/** SPEND_NAMES: names by id, by column. */
export type NameOverrides = Partial<Record<NamedColumn, Record<string, string>>>;

/** What LiteLLM names, as last seen: also of what has been deleted since. */
interface Book {
  /** When the lists were read, ms since 1970. */
  readAt: number;
  key: Record<string, string>;
  team: Record<string, string>;
  user: Record<string, string>;
}
type BookColumn = 'key' | 'team' | 'user';

const isBookColumn = (column: NamedColumn): column is BookColumn =>
  column === 'key' || column === 'team' || column === 'user';

export interface NamesOptions {
  litellm: Pick<LitellmClient, 'keys' | 'users' | 'teams'>;
  kv: Pick<Store['kv'], 'get' | 'put'>;
  identity: () => string;
  overrides: NameOverrides;
  now: () => number;
}

/** Names change seldom; an unknown id has them read again sooner. */
const staleMs = 3_600_000;
const retryMs = 60_000;

/** An end user may be called `constructor`. */
const own = (names: Record<string, string> | undefined, id: string) =>
  names !== undefined && Object.hasOwn(names, id) ? names[id] : undefined;

const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');
const noId: Record<NamedColumn, string> = {
  model: '(no model)',
  provider: '(no provider)',
  user: '(no user)',
  team: '(no team)',
  key: '(no key)',
  end_user: '(no end user)',
  tag: '(no tag)',
};

/** Names for people: key and team aliases, e-mail addresses, and what SPEND_NAMES says before all of them. */
export function createNames({ litellm, kv, identity, overrides, now }: NamesOptions) {
  const storeKey = `names/${identity()}`;
  let loading: Promise<Book> | undefined;
  let isChanged = false;

  const load = () => {
    loading ??= (async () => {
      const stored = (await kv.get(storeKey)) as Book | undefined;
      return stored ?? { readAt: 0, key: {}, team: {}, user: {} };
    })().catch((error) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };

  function learn(book: Book, column: BookColumn, id: string | null, name: string | null) {
    if (id === null || name === null || book[column][id] === name) return;
    book[column][id] = name;
    isChanged = true;
  }

  async function save(book: Book) {
    if (!isChanged) return;
    isChanged = false;
    // What another replica has learnt meanwhile stays.
    const stored = (await kv.get(storeKey)) as Book | undefined;
    for (const column of ['key', 'team', 'user'] as const) book[column] = { ...stored?.[column], ...book[column] };
    await kv.put(storeKey, book);
  }

  /** A key that may not list is no reason to fail: the ids remain. */
  async function tolerate<T>(read: Promise<T[]>): Promise<T[]> {
    try {
      return await read;
    } catch (error) {
      if (error instanceof UpstreamError && error.failure !== 'aborted') return [];
      throw error;
    }
  }

  async function readLists(book: Book, signal: AbortSignal) {
    const [keys, users, teams] = await Promise.all([
      tolerate(litellm.keys(signal)),
      tolerate(litellm.users(signal)),
      tolerate(litellm.teams(signal)),
    ]);
    for (const { hash, alias } of keys) learn(book, 'key', hash, alias);
    for (const { id, email } of users) learn(book, 'user', id, email);
    for (const { id, alias } of teams) learn(book, 'team', id, alias);
    book.readAt = now();
    isChanged = true;
  }

  async function freshen(book: Book, column: BookColumn, ids: readonly string[], signal: AbortSignal) {
    const age = now() - book.readAt;
    const isMissing = ids.some((id) => id !== '' && own(book[column], id) === undefined);
    if (age > staleMs || (isMissing && age > retryMs)) await readLists(book, signal);
  }

  return {
    /** Names come with rows, and stay known after the key or team is gone. */
    async observer(): Promise<(rows: readonly SpendRow[]) => void> {
      const book = await load();
      return (rows) => {
        for (const row of rows) {
          if (row.keyAlias !== null) learn(book, 'key', row.apiKeyHash, row.keyAlias);
          if (row.teamAlias !== null) learn(book, 'team', row.teamId, row.teamAlias);
          if (row.userEmail !== null) learn(book, 'user', row.user, row.userEmail);
        }
      };
    },

    async aliasObserver(): Promise<(aliases: Map<string, string>) => void> {
      const book = await load();
      return (aliases) => {
        for (const [hash, alias] of aliases) learn(book, 'key', hash, alias);
      };
    },

    /** A name for each id; the id itself where none is known. */
    async find(column: NamedColumn, ids: readonly string[], signal: AbortSignal): Promise<Map<string, string>> {
      const book = await load();
      if (isBookColumn(column)) await freshen(book, column, ids, signal);
      await save(book);
      const known = isBookColumn(column) ? book[column] : {};
      return new Map(
        ids.map((id) => [id, own(overrides[column], id) ?? own(known, id) ?? (id === '' ? noId[column] : id)]),
      );
    },

    /** The ids behind a filter by id or by name; a key (`sk-...`) is hashed. Throws HttpError 400 for an unknown key alias. */
    async resolve(column: NamedColumn, wanted: string, signal: AbortSignal): Promise<Set<string>> {
      if (column !== 'key') return new Set([wanted]);
      if (wanted.startsWith('sk-')) return new Set([hashOf(wanted)]);
      if (/^[0-9a-f]{64}$/.test(wanted) || /^(litellm_|hashed-)/.test(wanted)) return new Set([wanted]);
      const book = await load();
      const search = () => {
        const named = { ...book.key, ...overrides.key };
        return Object.keys(named).filter((hash) => named[hash] === wanted);
      };
      if (search().length === 0 && now() - book.readAt > retryMs) await readLists(book, signal);
      await save(book);
      const found = search();
      if (found.length === 0) refuse('api_key', 'is not known: send the alias of a key, its sha256, or the key itself');
      return new Set(found);
    },
  };
}

export type Names = ReturnType<typeof createNames>;
