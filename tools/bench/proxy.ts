import {
  atLeast,
  atMost,
  type Bench,
  inTurns,
  median,
  type Row,
  ratioOf,
  type Samples,
  type Target,
} from './harness.ts';
import { type Contender, startField } from './proxy/contenders.ts';
import { Caller, load, quantile, toRequest } from './proxy/load.ts';
import { cpuMs, peakMib, residentMib } from './proxy/process.ts';

const path = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'z'.repeat(300) }];

function requestOf({ headers }: Contender, body: object): Buffer {
  const json = { 'Content-Type': 'application/json', Accept: 'application/json' };
  return toRequest(path, { ...json, ...headers }, Buffer.from(JSON.stringify(body)));
}

/** The same words and the same end as from the backend itself, before anything is timed. */
async function checkAnswers(contenders: Contender[]) {
  const ask = async ({ port, headers, name }: Contender, stream: boolean) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'fast', stream, messages }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${name} answered ${response.status} (stream: ${stream}): ${text.slice(0, 200)}`);
    if (stream)
      return text
        .split('\n')
        .filter((line) => line.startsWith('data: '))
        .join('\n');
    return JSON.stringify(JSON.parse(text).choices);
  };
  for (const stream of [false, true]) {
    const [expected, ...others] = await Promise.all(contenders.map((contender) => ask(contender, stream)));
    others.forEach((other, index) => {
      if (other !== expected) throw new Error(`${contenders[index + 1]!.name} changed the answer (stream: ${stream})`);
    });
  }
}

/** Before what is timed: everyone has had a pause, and the first calls after it are another question. */
const leadInMs = 150;

/** Steady load, with what it cost the contender. */
async function measure(
  contender: Contender,
  body: object,
  limits: { connections: number; ms?: number; count?: number },
) {
  const { pid, port } = contender;
  if (limits.ms !== undefined) await load(port, requestOf(contender, body), { ...limits, ms: leadInMs });
  const before = pid === undefined ? 0 : cpuMs(pid);
  const { perSecond, timings } = await load(port, requestOf(contender, body), limits);
  const cpu = pid === undefined ? 0 : (cpuMs(pid) - before) / timings.length;
  const all = timings.map(({ ms }) => ms);
  const first = timings.map(({ firstByteMs }) => firstByteMs);
  return {
    perSecond,
    p50: quantile(all, 0.5),
    p99: quantile(all, 0.99),
    firstByteP50: quantile(first, 0.5),
    firstByteP99: quantile(first, 0.99),
    cpu,
  };
}

/** The median over slices of few calls, one caller, everyone in turn: a whole answer, and the first byte of a stream. */
async function measureSingle(contender: Contender) {
  const caller = new Caller(contender.port);
  const request = requestOf(contender, { model: 'fast', messages });
  const times: number[] = [];
  for (let index = 0; index < 150; index++) times.push((await caller.call(request)).ms);
  const streamed = requestOf(contender, { model: 'fast', stream: true, messages });
  const firsts: number[] = [];
  for (let index = 0; index < 40; index++) firsts.push((await caller.call(streamed)).firstByteMs);
  caller.close();
  return { p50: quantile(times, 0.5), firstByteP50: quantile(firsts, 0.5) };
}

/** Resident memory over 10,000 streams, every thousand. */
async function measureFlatness(contender: Contender) {
  const samples: number[] = [];
  for (let index = 0; index < 10; index++) {
    await load(contender.port, requestOf(contender, { model: 'fast', stream: true, messages }), {
      connections: 50,
      count: 1_000,
    });
    samples.push(residentMib(contender.pid!));
  }
  return { first: Math.max(...samples.slice(0, 5)), last: Math.max(...samples.slice(5)) };
}

/** Twenty callers leave, ten in a stream and ten before the answer: how many did the backend see go, and how late. */
async function measureAborts(contender: Contender, backendPort: number, round: number) {
  const leftAt = new Map<string, bigint>();
  for (let index = 0; index < 20; index++) {
    const user = `${contender.name}-${round}-${index}`;
    const body = { model: 'slow', stream: index % 2 === 0, user, messages };
    const gone = new AbortController();
    const answered = fetch(`http://127.0.0.1:${contender.port}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...contender.headers },
      body: JSON.stringify(body),
      signal: gone.signal,
    }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 60 + index));
    leftAt.set(user, process.hrtime.bigint());
    gone.abort();
    await (await answered)?.body?.cancel().catch(() => undefined);
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  const leavings = (await (await fetch(`http://127.0.0.1:${backendPort}/leavings`)).json()) as Record<string, string>;
  const delays = [...leftAt].flatMap(([user, at]) =>
    leavings[user] === undefined ? [] : [Number(BigInt(leavings[user]) - at) / 1e6],
  );
  return { seen: delays.filter((ms) => ms <= 100).length, slowest: Math.max(0, ...delays) };
}

function rowsOf(samples: Samples, measureName: string, metric: string, unit: string): Row[] {
  return [...samples].map(([name, values]) => ({
    name,
    measure: measureName,
    unit,
    median: median(values[metric]!),
    ratio: ratioOf(samples, metric, name, 'direct'),
  }));
}

/**
 * What a call costs on its way: our built bundle beside nothing, nginx, the least that Node can do, and Portkey's
 * gateway. Same backend, same load, in turn; ratios are medians over the rounds, each of one round's own numbers.
 */
export const bench: Bench = async (report) => {
  const field = await startField(report);
  try {
    const { contenders } = field;
    const proxies = contenders.filter(({ pid }) => pid !== undefined);
    const ours = contenders.filter(({ name }) => name === 'ours' || name === 'bare');
    await checkAnswers(contenders);
    report(`proxy: ${contenders.map(({ name }) => name).join(', ')} give the same answers`);
    const run = (
      title: string,
      who: Contender[],
      rounds: number,
      one: (contender: Contender, round: number) => Promise<Record<string, number>>,
    ) => {
      report(`proxy: ${title}, ${rounds} rounds in turn`);
      return inTurns(who, rounds, one);
    };

    const fast = { model: 'fast', messages };
    report('proxy: warming everyone up');
    for (const contender of contenders) {
      for (const stream of [false, true]) {
        await load(contender.port, requestOf(contender, { ...fast, stream }), {
          connections: 50,
          // Enough for V8 to have compiled what it will.
          count: 20_000,
          ms: 8_000,
        });
      }
    }
    // Many short rounds: what a machine's other users take falls on everyone alike.
    const json = await run('1 KB JSON', contenders, 24, (it) => measure(it, fast, { connections: 50, ms: 300 }));
    const sse = await run('50-chunk SSE', contenders, 16, (it) =>
      measure(it, { ...fast, stream: true }, { connections: 50, ms: 450 }),
    );
    const large = { ...fast, messages: [{ role: 'user', content: 'z'.repeat(10 * 1024 * 1024) }] };
    const upload = await run('10 MB upload', contenders, 4, (it) => measure(it, large, { connections: 4, count: 24 }));
    const paced = { model: 'paced', stream: true, messages };
    const streams = await run('500 streams at once', contenders, 9, (it) =>
      measure(it, paced, { connections: 500, count: 500 }),
    );
    const single = await run('one connection', contenders, 20, measureSingle);
    const aborts = await run('callers that leave', contenders, 1, (it, round) =>
      measureAborts(it, field.backendPort, round),
    );
    const flat = await run('memory over 10,000 streams', ours, 1, measureFlatness);
    const peaks = new Map(proxies.map(({ name, pid }) => [name, peakMib(pid!)]));

    const rows: Row[] = [
      ...rowsOf(json, 'JSON 1 KB', 'perSecond', 'requests/s'),
      ...rowsOf(json, 'JSON 1 KB p50', 'p50', 'ms'),
      ...rowsOf(json, 'JSON 1 KB p99', 'p99', 'ms'),
      ...rowsOf(json, 'JSON 1 KB CPU', 'cpu', 'ms/request'),
      ...rowsOf(sse, 'SSE 50 chunks', 'perSecond', 'streams/s'),
      ...rowsOf(sse, 'SSE 50 chunks p50', 'p50', 'ms'),
      ...rowsOf(sse, 'SSE 50 chunks p99', 'p99', 'ms'),
      ...rowsOf(sse, 'SSE 50 chunks CPU', 'cpu', 'ms/stream'),
      ...rowsOf(upload, 'upload 10 MB', 'perSecond', 'uploads/s'),
      ...rowsOf(upload, 'upload 10 MB CPU', 'cpu', 'ms/upload'),
      ...rowsOf(streams, '500 paced streams, first byte p50', 'firstByteP50', 'ms'),
      ...rowsOf(streams, '500 paced streams, first byte p99', 'firstByteP99', 'ms'),
      ...rowsOf(streams, '500 paced streams, end p99', 'p99', 'ms'),
      ...rowsOf(streams, '500 paced streams CPU', 'cpu', 'ms/stream'),
      ...rowsOf(single, 'one connection p50', 'p50', 'ms'),
      ...rowsOf(single, 'one connection, stream: first byte p50', 'firstByteP50', 'ms'),
      ...rowsOf(aborts, 'of 20 callers left, seen in 100 ms', 'seen', ''),
      ...rowsOf(aborts, 'slowest leave seen', 'slowest', 'ms'),
      ...proxies.map(({ name }) => ({
        name,
        measure: 'peak memory',
        unit: 'MiB',
        median: peaks.get(name)!,
        ratio: peaks.get(name)! / peaks.get('bare')!,
      })),
    ];
    const added = median(single.get('ours')!.p50!.map((ms, round) => ms - single.get('direct')!.p50![round]!));
    const { first, last } = Object.fromEntries(
      Object.entries(flat.get('ours')!).map(([name, [value]]) => [name, value!]),
    );
    const targets: Target[] = [
      atLeast('JSON: requests per second against bare', ratioOf(json, 'perSecond', 'ours', 'bare'), 0.75),
      atMost('JSON: CPU per request against bare', ratioOf(json, 'cpu', 'ours', 'bare'), 1.4),
      atLeast('JSON: requests per second against Portkey', ratioOf(json, 'perSecond', 'ours', 'portkey'), 4),
      atMost('JSON: p99 against Portkey', ratioOf(json, 'p99', 'ours', 'portkey'), 1),
      atLeast(
        'accounting, JSON: requests per second against bare',
        ratioOf(json, 'perSecond', 'accounting', 'bare'),
        0.7,
      ),
      atMost('accounting, JSON: CPU per request against bare', ratioOf(json, 'cpu', 'accounting', 'bare'), 1.6),
      atLeast(
        'accounting, JSON: requests per second against Portkey',
        ratioOf(json, 'perSecond', 'accounting', 'portkey'),
        4,
      ),
      atMost(
        'accounting, one stream: first byte p50 against ours',
        ratioOf(single, 'firstByteP50', 'accounting', 'ours'),
        1.1,
      ),
      atMost(
        'accounting, 500 streams: first byte p50 against ours',
        ratioOf(streams, 'firstByteP50', 'accounting', 'ours'),
        1.1,
      ),
      atMost('one connection: ms added to direct', added, 0.5),
      atLeast('SSE: streams per second against bare', ratioOf(sse, 'perSecond', 'ours', 'bare'), 0.85),
      atMost('peak memory against bare', peaks.get('ours')! / peaks.get('bare')!, 1.2),
      atMost('memory of the second 5,000 streams against the first', last! / first!, 1.1),
      atLeast('callers that left, seen by the backend in 100 ms', median(aborts.get('ours')!.seen!), 20),
    ];
    return { bench: 'proxy', rows, targets };
  } finally {
    await field.stop();
  }
};
