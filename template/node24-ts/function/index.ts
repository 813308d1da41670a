import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import type { CreateFunction, FunctionResponse } from './function.ts';

const json = (status: number, value: unknown): FunctionResponse => ({
  status,
  headers: { 'Content-Type': 'application/json; charset=utf-8' },
  body: JSON.stringify(value),
});

/** A secret made with `faas-cli secret create` and listed under the function's `secrets`; undefined when it is not there. */
function readSecret(name: string, env: NodeJS.ProcessEnv): string | undefined {
  try {
    return readFileSync(`${env.SECRET_MOUNT_PATH || '/var/openfaas/secrets'}/${name}`, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

async function* countdown(from: number, signal: AbortSignal) {
  for (let left = from; left >= 0; left -= 1) {
    yield `data: ${left}\n\n`;
    if (left > 0) await wait(200, undefined, { signal });
  }
}

/**
 * POST / {"name": "..."}   answers {"greeting": "..."}
 * POST /signed             checks X-Hub-Signature-256 over the raw body with the secret webhook-secret
 * GET  /countdown          streams events (send `Accept: text/event-stream`, or OpenFaaS holds them back)
 */
const create: CreateFunction = (env) => {
  const greeting = env.GREETING || 'Hello';

  return async (event, context) => {
    if (event.path === '/countdown') {
      return {
        status: 200,
        headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' },
        body: Readable.from(countdown(3, context.signal)),
      };
    }
    // The body is the raw stream: read it once, as text here, or pass it on as it is.
    const body = await text(event.body);
    if (event.path === '/signed') {
      const secret = readSecret('webhook-secret', env);
      if (secret === undefined) return json(503, { error: 'Create the secret webhook-secret', code: 'no_secret' });
      const expected = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      const given = Buffer.from(String(event.headers['x-hub-signature-256'] ?? ''));
      const isRight = given.length === expected.length && timingSafeEqual(given, Buffer.from(expected));
      return isRight
        ? json(200, { signed: true })
        : json(401, { error: 'The signature is wrong', code: 'bad_signature' });
    }
    let input: unknown;
    try {
      input = JSON.parse(body || '{}');
    } catch {
      return json(400, { error: 'The request body is not valid JSON', code: 'invalid_json' });
    }
    const given = typeof input === 'object' && input !== null && 'name' in input ? input.name : undefined;
    const name = typeof given === 'string' ? given : 'world';
    context.log.info('greeted', { length: name.length });
    return json(200, { greeting: `${greeting}, ${name}` });
  };
};

export default create;
