import OpenAI from 'openai';
import { startFront } from '../gateway/front.ts';
import { createJournal } from '../gateway/journal.ts';
import { atMost, type Bench, median, type Row } from './harness.ts';
import { startOurs } from './proxy/contenders.ts';
import { quantile } from './proxy/load.ts';

interface Way {
  name: string;
  client: OpenAI;
}

const messages = [{ role: 'user' as const, content: 'Why is the sky blue?' }];

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
  return { first: seen[0]! - startedAt, gap: quantile(gaps, 0.95), longest: Math.max(...gaps) };
}

/**
 * What a person feels who streams with an unmodified `openai` client: the time to the first word and the 95th percentile
 * of the gap between two, from the backend itself, through the proxy, and through the local gateway, which keeps chunks
 * back as of-watchdog and OpenFaaS's gateway do, without and with the cure.
 */
export const bench: Bench = async (report) => {
  const ours = await startOurs();
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
    functions: () => [{ spec, port: () => ours.port }],
    port: 0,
    journal: createJournal(() => undefined),
  });
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
      way('proxy', `http://127.0.0.1:${ours.port}`),
      way('gateway', throughGateway),
      way('gateway, cured', throughGateway, 'text/event-stream'),
    ];
    const samples = new Map(
      ways.map(({ name }) => [name, { first: [] as number[], gap: [] as number[], longest: [] as number[] }]),
    );
    report('stream: 6 rounds in turn');
    for (let round = 0; round <= 6; round += 1) {
      for (const each of ways) {
        const { first, gap, longest } = await feel(each);
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
    return {
      bench: 'stream',
      rows,
      targets: [
        atMost('cured: ms to the first word beside direct', of('gateway, cured', 'first') - of('direct', 'first'), 50),
        atMost('cured: gap p95 against direct', of('gateway, cured', 'gap') / of('direct', 'gap'), 1.5),
      ],
    };
  } finally {
    await front.close();
    await ours.stop();
  }
};
