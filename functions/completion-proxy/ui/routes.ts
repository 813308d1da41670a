import { gzipSync } from 'node:zlib';
import type { Caller } from '#shared/auth/authenticate.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import type { Limits } from '../callers/limits.ts';
import type { OwnRoute } from '../own/routes.ts';
import { streamEvents } from '../records/events.ts';
import { type History, type HistoryQuery, matches } from '../records/history.ts';
import { readHistoryQuery } from '../records/routes.ts';
import { type LiveParts, lookNow } from './live.ts';
import { renderUi } from './page.ts';

export interface UiParts extends LiveParts {
  /** undefined: HISTORY_DAYS=0. */
  history: History | undefined;
  /** Prompts and answers are kept. */
  keepsContent: boolean;
  limits: Pick<Limits, 'isAdmin'>;
}

const lookEveryMs = 1_000;
/** Told also when nothing is new, so that the page can tell silence from a cut. */
const tellEveryMs = 10_000;

function followAll(parts: UiParts, query: HistoryQuery, caller: string | undefined, signal: AbortSignal) {
  return streamEvents(signal, (send) => {
    let told = '';
    let toldAt = Number.NEGATIVE_INFINITY;
    const look = () => {
      const { time, ...rest } = lookNow(parts, caller);
      const news = JSON.stringify(rest);
      const at = parts.now();
      if (news === told && at - toldAt < tellEveryMs) return;
      [told, toldAt] = [news, at];
      send({ time, ...rest }, 'now');
    };
    look();
    const timer = setInterval(look, lookEveryMs).unref();
    const stop = parts.history?.follow((record) => matches(record, query) && send(record));
    return () => {
      clearInterval(timer);
      stop?.();
    };
  });
}

/** A third of the bytes, for whom takes them so: nothing between a gateway and its caller packs them. */
function packed(answer: FunctionResponse, { headers }: FunctionEvent): FunctionResponse {
  if (!/\bgzip\b/.test(String(headers['accept-encoding'] ?? ''))) return answer;
  const fields = { ...(answer.headers as Record<string, string>), 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' };
  return { ...answer, headers: fields, body: gzipSync(String(answer.body)) };
}

/**
 * `GET /_proxy/ui`: the page. `GET /_proxy/ui/live`: what it follows: `now` events (calls under way, backends) whenever
 * something changed, and each new record that matches the filters of `/history`. A key that is no admin sees its own calls.
 */
export function createUiRoutes(parts: UiParts): OwnRoute[] {
  const { history, keepsContent, limits, now } = parts;
  const ownOnly = ({ name }: Caller) => (limits.isAdmin(name) ? undefined : name);
  return [
    {
      method: 'GET',
      path: '/ui',
      isPrefixedOnly: true,
      answer: (event, { caller }) =>
        packed(
          renderUi({
            caller: caller.method === 'none' ? undefined : caller.name,
            isAdmin: limits.isAdmin(caller.name),
            hasHistory: history !== undefined,
            keepsContent,
          }),
          event,
        ),
    },
    {
      method: 'GET',
      path: '/ui/live',
      isPrefixedOnly: true,
      answer: (event, { caller, signal }) => {
        const own = ownOnly(caller);
        const query = readHistoryQuery(event, now());
        if (own !== undefined) query.caller = own;
        return followAll(parts, query, own, signal);
      },
    },
  ];
}
