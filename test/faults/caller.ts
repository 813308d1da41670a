export interface Result {
  status: number;
  headers: Headers;
  text: string;
  /** The words that came, put together. */
  content: string;
  /** The answer says of itself that it is whole: finish reason or [DONE]. */
  finished: boolean;
  /** An error in the stream or in the body, as the clients of OpenAI read it. */
  error: { message?: string; code?: string | null } | undefined;
  /** The connection ended before the answer did. */
  broken: boolean;
  model: string | undefined;
  usage: { completion_tokens: number } | undefined;
  ms: number;
}

interface Chunk {
  model?: string;
  choices?: { delta?: { content?: string }; message?: { content?: string }; finish_reason?: string | null }[];
  usage?: { completion_tokens: number } | null;
  error?: Result['error'];
}

const parse = (text: string): Chunk | undefined => {
  try {
    return JSON.parse(text) as Chunk;
  } catch {
    return undefined;
  }
};

/** One chat completion, read to whatever end it has. Never throws. */
export async function ask(url: string, fields: object = {}): Promise<Result> {
  const startedAt = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { Authorization: 'Bearer proxy-key', 'Content-Type': 'application/json' },
    body: JSON.stringify({
      model: 'primary-model',
      stream: true,
      messages: [{ role: 'user', content: 'Explain' }],
      ...fields,
    }),
    signal: AbortSignal.timeout(20_000),
  }).catch(() => undefined);
  let text = '';
  let broken = response === undefined;
  const decoder = new TextDecoder();
  try {
    for await (const bytes of response?.body ?? []) text += decoder.decode(bytes as Uint8Array, { stream: true });
  } catch {
    broken = true;
  }
  const isStream = response?.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const parts = isStream
    ? text.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []))
    : [text];
  const chunks = parts.flatMap((part) => parse(part) ?? []);
  return {
    status: response?.status ?? 0,
    headers: response?.headers ?? new Headers(),
    text,
    content: chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? choices?.[0]?.message?.content ?? '').join(''),
    finished: parts.includes('[DONE]') || chunks.some(({ choices }) => typeof choices?.[0]?.finish_reason === 'string'),
    error: chunks.find(({ error }) => error !== undefined)?.error,
    broken,
    model: chunks.find(({ model }) => model !== undefined)?.model,
    usage: chunks.findLast(({ usage }) => usage !== undefined && usage !== null)?.usage ?? undefined,
    ms: performance.now() - startedAt,
  };
}
