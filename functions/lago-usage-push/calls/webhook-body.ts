import { HttpError } from '#shared/errors.ts';

function refuse(message: string): never {
  throw new HttpError(400, message, { code: 'bad_webhook' });
}

function parseLine(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return refuse(`Line ${number} of the webhook is not JSON`);
  }
}

/**
 * The payloads of a `generic_api` body, whatever its `log_format`: an array, one object, or one object a line. LiteLLM
 * names all three application/json, and writes null where a payload is missing. Throws HttpError 400 `bad_webhook`.
 */
export function parseWebhookBody(body: string): Record<string, unknown>[] {
  const text = body.trim();
  if (text === '') refuse('The webhook is empty: send JSON');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    const lines = text.split('\n').map((line) => line.trim());
    if (lines.length === 1) refuse('The webhook is not JSON');
    parsed = lines.flatMap((line, index) => (line === '' ? [] : [parseLine(line, index + 1)]));
  }
  const items = Array.isArray(parsed) ? parsed : [parsed];
  return items.flatMap((item, index) => {
    if (item === null) return [];
    if (typeof item === 'object' && !Array.isArray(item)) return [item as Record<string, unknown>];
    return refuse(`Item ${index + 1} of the webhook is no object`);
  });
}
