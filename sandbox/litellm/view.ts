import type { SandboxCall } from '../server.ts';
import type { Profile } from './answers.ts';
import type { Directory, Scope } from './directory.ts';
import type { SpendLogRow } from './rows.ts';

/** What a route sees of the proxy during one call. */
export interface View {
  call: SandboxCall;
  profile: Profile;
  directory: Directory;
  scope: Scope;
  now: Date;
  /** The table LiteLLM_SpendLogs. */
  logs: () => SpendLogRow[];
  /** The rows that went into the daily tables. */
  daily: () => SpendLogRow[];
  /** Counts the calls: rows without an order of their own come differently each time. */
  turn: number;
}
