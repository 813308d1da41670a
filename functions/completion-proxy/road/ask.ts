import type { Dispatcher } from 'undici';
import type { Upstream } from '../backends/upstream.ts';
import { toBackendHeaders } from '../headers.ts';
import { withModel } from '../routing/request-scan.ts';
import { withStreamUsage } from '../routing/stream-usage.ts';
import type { Call } from './call.ts';
import type { KeptBody } from './kept-body.ts';

/** What a backend is asked, and how its answer is to be told. */
export interface Ask {
  options: Dispatcher.DispatchOptions;
  /** It tells the usage of a stream because we ask for it: the caller did not. */
  hidesUsage: boolean;
}

/** Chat completions and completions tell the usage of a stream only when they are asked for it. */
const hasUsageChunk = ({ route, scan }: Call) => route?.dialect === 'chat' && route.hasTerminator && scan.isJson;

/** The caller's request as this backend is to get it. `readsAll`: its answer is read, whatever kind of backend it is. */
export function prepare(
  call: Call,
  { backend }: Upstream,
  body: KeptBody | undefined,
  readsAll: boolean | undefined,
): Ask {
  const { request, scan, route } = call;
  let hidesUsage = false;
  let bytes: Dispatcher.DispatchOptions['body'] = null;
  if (body !== undefined) {
    bytes = 'whole' in body ? body.whole : body.stream;
    const alias = scan.model === undefined ? undefined : backend.aliases.get(scan.model);
    if (alias !== undefined && 'whole' in body) bytes = withModel(body.whole, scan, alias);
    if (backend.collectStreamUsage === true && scan.stream === true && hasUsageChunk(call) && Buffer.isBuffer(bytes)) {
      const asking = withStreamUsage(bytes);
      hidesUsage = asking !== undefined;
      bytes = asking ?? bytes;
    }
  }
  const options = {
    path: backend.basePath + request.target,
    method: request.method as Dispatcher.HttpMethod,
    headers: toBackendHeaders(request, backend, {
      isBodyAtHand: Buffer.isBuffer(bytes),
      // Nothing can be read in what is compressed.
      isRead: route !== undefined && (backend.kind !== 'plain' || readsAll === true),
      trace: call.facts.trace,
    }),
    body: bytes,
  };
  return { options, hidesUsage };
}
