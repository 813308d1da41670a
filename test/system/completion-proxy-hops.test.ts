import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { padBytes } from '../../functions/completion-proxy/road/padding.ts';
import { buildHop, faasd, type Rule, startChain } from '../../tools/bench/hop/chain.ts';
import { mostKeptBack, pushed, type Source, startSource } from '../../tools/bench/hop/hold.ts';
import { startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { until } from '../support/bundle-process.ts';
import { specOf } from '../support/gateway.ts';
import { closeAfterEach, closeLater, startBackend, startProxy } from '../support/proxy-road.ts';
import { chatChunk } from '../support/scripted-backend.ts';

/** Hops with Go's own net/http, as watchdog, provider and gateway forward: no test here can do without. */
let hop: string;
let source: Source;

beforeAll(async () => {
  const built = buildHop();
  if (built === undefined) throw new Error('There is no Go here: apt-get install golang-go');
  hop = built;
  source = await startSource();
}, 300_000);
afterAll(() => source?.close());
closeAfterEach();

async function chain(upstream: string, rules: Rule[], wrapped = false) {
  const started = await startChain(hop, upstream, rules, wrapped);
  closeLater(started.stop);
  return started;
}

const netes: Rule[] = ['contains', 'contains', 'prefix'];

describe.each([
  ['bare', false],
  ['wrapped', true],
])('hops whose writer is %s', (_, wrapped) => {
  it.each([1, 2, 3])(
    '%i of them keep kilobytes back, and a pad pushes what was written before it through',
    async (count) => {
      const { url } = await chain(source.url, faasd.slice(0, count), wrapped);
      const kept = await mostKeptBack(source, url, { step: 256, total: 40_000 });
      // One hop has a buffer of 4 KiB; each further one waits for 32 KiB or the end of a chunk.
      expect(kept).toBeGreaterThan(count === 1 ? 3_500 : 20_000);
      expect(await pushed(source, url, padBytes, 60, 2_000)).toBe(60);
      // The measurement can fail: half of one hop's buffer pushes nothing.
      expect(await pushed(source, url, 2_048, 10)).toBeLessThan(10);
    },
  );
});

describe('the local gateway', () => {
  it('keeps back what three hops keep back, and lets go of it for the same pads', async () => {
    const go = await chain(source.url, faasd, true);
    const front = await startFront({
      functions: () => [{ spec: specOf('source', {}), port: () => Number(new URL(source.url).port) }],
      port: 0,
      journal: createJournal(() => undefined),
    });
    closeLater(() => front.close());
    const measure = async (url: string) => ({
      // To 2 KiB, as what is under way at rest is seen by waiting.
      kept: Math.round((await mostKeptBack(source, url, { step: 64, total: 40_000 })) / 2_048),
      enough: await pushed(source, url, 10_240, 40, 2_000),
      // Now and then 32 KiB are full just then.
      isTooLittle: (await pushed(source, url, 4_096, 20)) < 10,
    });
    const ours = await measure(`${front.url}/function/source`);
    expect(ours).toEqual(await measure(go.url));
    expect(ours).toEqual({ kept: 18, enough: 40, isTooLittle: true });
  });
});

describe.each([
  ['faasd', faasd],
  ['Kubernetes', netes],
])('an unmodified openai client behind the hops of %s', (_, rules) => {
  /** Its first words before the backend tells the rest (undefined: they did not come within a second), and all of them. */
  async function stream(url: string, goOn: () => void, Accept?: string) {
    const defaultHeaders = Accept === undefined ? {} : { Accept };
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'key', maxRetries: 0, defaultHeaders });
    let all = '';
    const messages = [{ role: 'user' as const, content: 'hi' }];
    const reading = (async () => {
      for await (const chunk of await client.chat.completions.create({ model: 'm', stream: true, messages })) {
        all += chunk.choices[0]?.delta.content ?? '';
      }
    })();
    const first = await until('the first words', () => all || undefined, 1_000).catch(() => undefined);
    goOn();
    await reading;
    return { first, all };
  }

  async function start(env: Record<string, string>) {
    const asked = Promise.withResolvers<void>();
    const backend = await startBackend(async (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(chatChunk(''));
      res.write(chatChunk('first'));
      await asked.promise;
      res.end(`${chatChunk(' last')}${chatChunk('', 'stop')}data: [DONE]\n\n`);
    });
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', ...env });
    const { url } = await chain(proxy.url, rules);
    return { url, proxy, goOn: asked.resolve };
  }
  const paddingOf = async (url: string) =>
    Number(
      /^completion_proxy_padding_bytes_total (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1] ?? 0,
    );

  it('sees nothing before the end', async () => {
    const { url, proxy, goOn } = await start({});
    expect(await stream(url, goOn)).toEqual({ first: undefined, all: 'first last' });
    expect(await paddingOf(proxy.url)).toBe(0);
  });

  it('sees its first words within a second with STREAM_PADDING=auto', async () => {
    const { url, proxy, goOn } = await start({ STREAM_PADDING: 'auto' });
    expect(await stream(url, goOn)).toEqual({ first: 'first', all: 'first last' });
    expect(await paddingOf(proxy.url)).toBe(padBytes);
  });

  it('sees them by its Accept as well, and then nothing is added', async () => {
    const { url, proxy, goOn } = await start({ STREAM_PADDING: 'auto' });
    expect(await stream(url, goOn, 'text/event-stream')).toEqual({ first: 'first', all: 'first last' });
    expect(await paddingOf(proxy.url)).toBe(0);
  });
});
