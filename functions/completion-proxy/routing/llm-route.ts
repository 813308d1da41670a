/** How a streamed answer of a path is written, and so how it says that it ended and that it failed. */
export type Dialect = 'chat' | 'responses' | 'anthropic' | 'ollama' | 'other';

export interface LlmRoute {
  dialect: Dialect;
  /** Its streams end with a terminator that we know. */
  hasTerminator: boolean;
}

const route = (dialect: Dialect, hasTerminator = false): LlmRoute => ({ dialect, hasTerminator });

/** By the last segments of a path: clients write the base with `/v1`, `/openai/v1` or without. */
const routes = new Map<string, LlmRoute>([
  ['/chat/completions', route('chat', true)],
  ['/completions', route('chat', true)],
  ['/responses', route('responses', true)],
  ['/messages', route('anthropic', true)],
  ['/messages/count_tokens', route('anthropic')],
  ['/embeddings', route('chat')],
  ['/moderations', route('chat')],
  ['/rerank', route('chat')],
  ['/score', route('chat')],
  ['/audio/speech', route('chat')],
  ['/audio/transcriptions', route('chat')],
  ['/audio/translations', route('chat')],
  ['/images/generations', route('chat')],
  ['/images/edits', route('chat')],
  ['/images/variations', route('chat')],
]);
const ollamaRoutes = new Map<string, LlmRoute>([
  ['/api/chat', route('ollama', true)],
  ['/api/generate', route('ollama', true)],
  ['/api/embed', route('ollama')],
  ['/api/embeddings', route('ollama')],
  ['/api/show', route('ollama')],
]);

let lastPath = '';
let lastRoute: LlmRoute | undefined;

/** The route of a model that a call is, or undefined: only such calls are looked into, retried and spread by model. */
export function findLlmRoute(method: string, path: string): LlmRoute | undefined {
  if (method !== 'POST') return undefined;
  // Most calls go where the one before went.
  if (path !== lastPath) {
    lastRoute = routeOn(path);
    lastPath = path;
  }
  return lastRoute;
}

/** As a backend may read it: several decode it, overlook case, and take a slash more or less for nothing. */
function asRead(path: string): string {
  let text = path;
  try {
    text = decodeURIComponent(path);
  } catch {
    // As it came.
  }
  return text
    .toLowerCase()
    .replace(/;[^/]*/g, '')
    .replace(/\/+/g, '/')
    .replace(/(?<=.)\/$/, '');
}

/** Whoever could write a path that a backend understands and we do not would use models uncounted. */
function routeOn(given: string): LlmRoute | undefined {
  const path = asRead(given);
  const ollama = ollamaRoutes.get(path);
  if (ollama !== undefined) return ollama;
  const last = path.lastIndexOf('/');
  if (last < 0) return undefined;
  // One segment, else two: `/embeddings`, `/chat/completions`.
  const before = last === 0 ? -1 : path.lastIndexOf('/', last - 1);
  return (before >= 0 ? routes.get(path.slice(before)) : undefined) ?? routes.get(path.slice(last));
}

/** The shape of an error on any path of ours or the backend's. */
export function dialectOf(path: string): Dialect {
  if (/\/messages(\/|$)/.test(path)) return 'anthropic';
  if (path.startsWith('/api/')) return 'ollama';
  if (/\/responses$/.test(path)) return 'responses';
  return /(^|\/)v1\//.test(path) ? 'chat' : 'other';
}
