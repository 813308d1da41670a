import OpenAI from 'openai';
import { startFront } from '../gateway/front.ts';
import { createJournal } from '../gateway/journal.ts';
import { atLeast, atMost, type Bench, median, type Row, type Target } from './harness.ts';
import { buildHop, faasd, startChain } from './hop/chain.ts';
import { mostKeptBack, pushed, smallestPad, startSource } from './hop/hold.ts';
import { startOurs } from './proxy/contenders.ts';
import { quantile } from './proxy/load.ts';

interface Way {
  name: string;
  client: OpenAI;
}

const messages = [{ role: 'user' as const, content: 'Why is the sky blue?' }];
const rounds = 6;

const measures = {
  first: 'time to the first word',
  gap: 'gap between words, p95',
  longest: 'longest gap',
};

/** One stream of 50 chunks, one each 20 ms, as a program with the official client sees it. */
async function feel({ client }: Way) {
  const startedAt = performance.now();
  const stream = await client.chat.completions.create({ model: 'paced', stream: true, messages });
  const seen: number[] = [];
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) seen.push(performance.now());
  const gaps = seen.slice(1).map((at, index) => at - seen[index]!);
  return {
    first: seen[0]! - startedAt,
    gap: quantile(gaps, 0.95),
    longest: Math.max(...gaps),
    all: performance.now() - startedAt,
  };
}

/** What the proxy says that it has added so far. */
async function paddingBytes(port: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { 'X-Api-Key': 'bench-key' } });
  return Number(/^completion_proxy_padding_bytes_total (\d+)$/m.exec(await answer.text())?.[1] ?? 0);
}

/** How much one, two and three hops keep back, and what it takes to push an event through them. */
async function measureHops(hop: string): Promise<{ rows: Row[]; targets: Target[] }> {
  const source = await startSource();
  const chain = await startChain(hop, source.url, faasd);
  const wrapped = await startChain(hop, source.url, faasd, true);
  const rows: Row[] = [];
  const add = (name: string, measure: string, value: number) =>
    rows.push({ name, measure, unit: 'bytes', median: value, ratio: 1 });
  try {
    for (const [index, url] of chain.urls.entries()) {
      const name = index === 0 ? '1 hop' : `${index + 1} hops`;
      add(name, 'most kept back', await mostKeptBack(source, url));
      add(name, 'smallest pad that pushes through', await smallestPad(source, url, 12));
    }
    const through = await Promise.all([chain, wrapped].map(({ url }) => pushed(source, url, 16 * 1_024, 100)));
    return {
      rows,
      targets: [atLeast('events that a pad of 16 KiB pushed through 3 hops, of 200', through[0]! + through[1]!, 200)],
    };
  } finally {
    await chain.stop();
    await wrapped.stop();
    await source.close();
  }
}

/**
 * What a person feels who streams with an unmodified `openai` client: the time to the first word and the 95th percentile
 * of the gap between two, from the backend itself, through the proxy, and through what lies before it: the local gateway,
 * which keeps chunks back as of-watchdog and OpenFaaS's gateway do, and with Go on the machine the three hops of faasd as
 * hop/main.go has them: without a cure, with STREAM_PADDING=auto, and with the right Accept.
 */
export const bench: Bench = async (report) => {
  const hop = buildHop();
  if (hop === undefined)
    report('stream: WITHOUT THE HOPS, as there is no Go here; apt-get install golang-go adds them');
  const hops = hop === undefined ? { rows: [], targets: [] } : await measureHops(hop);
  const ours = await startOurs({}, { STREAM_PADDING: 'auto' });
  const [plainPort, paddedPort] = ours.ports as [number, number];
  const spec = {
    name: 'completion-proxy',
    image: 'local/completion-proxy:latest',
    folder: '.',
    environment: {},
    secrets: [],
    labels: {},
    annotations: {},
    limits: {},
    requests: {},
    readOnlyRootFilesystem: true,
  };
  const front = await startFront({
    functions: () => [{ spec, port: () => plainPort }],
    port: 0,
    journal: createJournal(() => undefined),
  });
  const closing = [() => front.close(), ours.stop];
  try {
    const way = (name: string, url: string, Accept?: string): Way => ({
      name,
      client: new OpenAI({
        baseURL: `${url}/v1`,
        apiKey: 'bench-key',
        ...(Accept === undefined ? {} : { defaultHeaders: { Accept } }),
      }),
    });
    const throughGateway = `${front.url}/function/completion-proxy`;
    const ways = [
      way('direct', `http://127.0.0.1:${ours.backendPort}`),
      way('proxy', `http://127.0.0.1:${plainPort}`),
      way('gateway', throughGateway),
      way('gateway, cured', throughGateway, 'text/event-stream'),
    ];
    if (hop !== undefined) {
      const plain = await startChain(hop, `http://127.0.0.1:${plainPort}`, faasd);
      const padded = await startChain(hop, `http://127.0.0.1:${paddedPort}`, faasd);
      closing.unshift(plain.stop, padded.stop);
      ways.push(way('3 hops', plain.url), way('3 hops, padded', padded.url));
      ways.push(way('3 hops, cured', plain.url, 'text/event-stream'));
    }
    const samples = new Map(
      ways.map(({ name }) => [name, { first: [] as number[], gap: [] as number[], longest: [] as number[] }]),
    );
    report(`stream: ${rounds} rounds in turn`);
    let paddedMs = 0;
    for (let round = 0; round <= rounds; round += 1) {
      for (const each of ways) {
        const { first, gap, longest, all } = await feel(each);
        if (each.name === '3 hops, padded') paddedMs += all;
        if (round === 0) continue;
        samples.get(each.name)!.first.push(first);
        samples.get(each.name)!.gap.push(gap);
        samples.get(each.name)!.longest.push(longest);
      }
    }
    const of = (name: string, metric: keyof typeof measures) => median(samples.get(name)![metric]);
    const rows: Row[] = (['first', 'gap', 'longest'] as const).flatMap((metric) =>
      ways.map(({ name }) => ({
        name,
        measure: measures[metric],
        unit: 'ms',
        median: of(name, metric),
        ratio: of(name, metric) / of('direct', metric),
      })),
    );
    const targets = [
      atMost('cured: ms to the first word beside direct', of('gateway, cured', 'first') - of('direct', 'first'), 50),
      atMost('cured: gap p95 against direct', of('gateway, cured', 'gap') / of('direct', 'gap'), 1.5),
    ];
    if (hop !== undefined) {
      const perSecond = (await paddingBytes(paddedPort)) / 1_024 / (paddedMs / 1_000);
      rows.push({
        name: '3 hops, padded',
        measure: 'padding of one stream',
        unit: 'KiB/s',
        median: perSecond,
        ratio: 1,
      });
      targets.push(
        atMost('padded: ms to the first word', of('3 hops, padded', 'first'), 250),
        atMost('padded: longest gap, ms', of('3 hops, padded', 'longest'), 400),
        atMost('padded: KiB/s of one stream', perSecond, 80),
      );
    }
    return { bench: 'stream', rows: [...rows, ...hops.rows], targets: [...targets, ...hops.targets] };
  } finally {
    for (const close of closing) await close();
  }
};
