import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Front, startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { specOf } from '../support/gateway.ts';
import { fillIn, freePort, startCaddy, startNginx } from '../support/proxies.ts';
import { closeAfterEach, startBackend, startProxy } from '../support/proxy-road.ts';
import { chatChunk } from '../support/scripted-backend.ts';

const readme = readFileSync(join(import.meta.dirname, '../../functions/completion-proxy/README.md'), 'utf8');
/** The fenced block of the README that begins so. */
const blockOf = (start: string) => {
  const found = [...readme.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].find(([, text]) => text!.startsWith(start));
  if (found === undefined) throw new Error(`The README has no block that begins with ${start}`);
  return found[1]!;
};

closeAfterEach();
let front: Front;
let proxy: { close(): Promise<void> } | undefined;
/** Lets the backend tell the rest of its stream. */
let goOn: () => void;

beforeEach(async () => {
  const asked = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const backend = await startBackend(async (res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write(chatChunk('first'));
    await asked;
    res.end(`${chatChunk(' last')}${chatChunk('', 'stop')}data: [DONE]\n\n`);
  });
  const { url } = await startProxy({
    AUTH: 'api-key',
    FUNCTION_API_KEY: 'tests:right',
    BACKEND_URL: backend.url,
    BACKEND_KIND: 'openai',
  });
  front = await startFront({
    functions: () => [{ spec: specOf('completion-proxy', {}), port: () => Number(new URL(url).port) }],
    port: 0,
    journal: createJournal(() => undefined),
  });
});
afterEach(async () => {
  goOn();
  await proxy?.close();
  proxy = undefined;
  await front.close();
});

async function behindNginx(location: string): Promise<number> {
  const port = await freePort();
  proxy = await startNginx(port, `server { listen 127.0.0.1:${port}; ${location} }`, {});
  return port;
}

async function behindCaddy(site: string): Promise<number> {
  const port = await freePort();
  proxy = await startCaddy(port, `http://127.0.0.1:${port} {\n${site}\n}\n`);
  return port;
}

/** An unmodified client: its first words before the backend tells the rest (undefined: they did not come), and all of them. */
async function stream(port: number) {
  const client = new OpenAI({
    baseURL: `http://127.0.0.1:${port}/function/completion-proxy/v1`,
    apiKey: 'right',
    maxRetries: 0,
  });
  let first: string | undefined;
  let all = '';
  const firstCame = Promise.withResolvers<void>();
  const reading = (async () => {
    const messages = [{ role: 'user' as const, content: 'hi' }];
    for await (const chunk of await client.chat.completions.create({ model: 'm', stream: true, messages })) {
      all += chunk.choices[0]?.delta.content ?? '';
      firstCame.resolve();
    }
  })();
  const patience = new Promise<void>((resolve) => setTimeout(resolve, 2_000));
  await Promise.race([firstCame.promise, patience, reading]);
  if (all !== '') first = all;
  goOn();
  await reading;
  return { first, all };
}

const flowing = { first: 'first', all: 'first last' };
const keptBack = { first: undefined, all: 'first last' };

describe('an unmodified client that streams', () => {
  it('gets each word in time behind the nginx of the README', async () => {
    const location = fillIn(blockOf('location /function/'), { 'http://127.0.0.1:8080': front.url });
    expect(await stream(await behindNginx(location))).toEqual(flowing);
  });

  it('gets them together at the end behind an nginx without it', async () => {
    expect(await stream(await behindNginx(`location / { proxy_pass ${front.url}; }`))).toEqual(keptBack);
  });

  it('gets each word in time behind the Caddy of the README', async () => {
    const site = fillIn(blockOf('# Caddy'), { '127.0.0.1:8080': new URL(front.url).host });
    expect(await stream(await behindCaddy(site))).toEqual(flowing);
  });

  it('gets them together at the end behind a Caddy without it', async () => {
    expect(await stream(await behindCaddy(`reverse_proxy ${new URL(front.url).host}`))).toEqual(keptBack);
  });
});
