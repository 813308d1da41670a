import type { Secret } from '#shared/config/secrets.ts';

/** An endpoint of Vast.ai, as the settings have it. */
export interface VastTarget {
  /** The name of the endpoint. */
  endpoint: string;
  /** The endpoint's own key. */
  apiKey: Secret | undefined;
  /** The account's: the endpoint's is asked for with it where there is no `apiKey`. */
  accountKey: Secret | undefined;
  consoleUrl: string;
  /** What a call costs of which nothing says how much it makes. */
  defaultCost: number;
  /** How long a call may wait for workers to start; a caller asks for more or less with `Prefer: wait=<seconds>`. */
  waitMs: number;
  /** PEM of the authority that signs the workers' certificates, trusted beside the usual ones. */
  ca: string | undefined;
}
