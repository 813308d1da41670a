import { UpstreamError } from '#shared/errors.ts';
import type { UpstreamCheck } from '#shared/http/doctor.ts';
import { askBackend } from './ask.ts';
import type { Backend } from './backend.ts';
import type { FindCarrier } from './upstream.ts';

const answerMs = 5_000;

/** Ollama tells its version; what others answer to the question of their health has none. */
function versionOf({ kind }: Backend, body: string): string | undefined {
  if (kind !== 'ollama') return undefined;
  try {
    return (JSON.parse(body) as { version?: string }).version;
  } catch {
    return undefined;
  }
}

/** What `npm run doctor` asks about a backend: whether it answers, and takes the credential it is given. */
export const checkOf = (backend: Backend, find: FindCarrier): UpstreamCheck => ({
  name: backend.name,
  settings:
    backend.vast === undefined
      ? `BACKENDS, BACKEND_URL, OLLAMA_URL or openai-api-key, and the credential of ${backend.name}`
      : `BACKENDS or VAST_ENDPOINT, VAST_URL, and the credential of ${backend.name}`,
  async check(signal) {
    if (backend.vast !== undefined) {
      const { checkVast } = await import('../vast/check.ts');
      await checkVast(backend.vast, backend.origin + backend.basePath, signal);
      return undefined;
    }
    const path = backend.healthPath ?? '/';
    const { status, body } = await askBackend(find, backend, { path, timeoutMs: answerMs }).catch((error: Error) => {
      throw new UpstreamError(backend.name, 'network', error.message, { advice: 'check its URL' });
    });
    if (status === 401 || status === 403) {
      throw new UpstreamError(backend.name, 'status', 'refused', { status, advice: 'check its credential' });
    }
    if (status >= 500) throw new UpstreamError(backend.name, 'status', 'not well', { status, advice: 'read its log' });
    return versionOf(backend, body);
  },
});
