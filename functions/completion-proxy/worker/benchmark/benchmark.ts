import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { ConfigError } from '#shared/errors.ts';
import { askModel, isKnownBenchmark, knownBenchmarks, planOf } from './known.ts';
import { type Benchmark, type BenchmarkContext, runBenchmark } from './run.ts';

export interface BenchmarkTarget {
  /** One of ours, a number that was measured elsewhere, the predecessor's `benchmarks.openai:benchmark`, or a path. */
  name: string;
  backendUrl: string;
  model: string | undefined;
  headers: () => Record<string, string>;
}

/** `benchmarks.openai_chat:benchmark` is `openai-chat`. */
const toOurName = (name: string) => /^benchmarks\.([a-z_]+):benchmark$/.exec(name)?.[1]?.replaceAll('_', '-') ?? name;

/** require() takes ES modules too, and a script that V8 has from its cache knows no import(). */
function load(path: string): unknown {
  const file = resolve(path);
  return createRequire(file)(file);
}

const isNumber = (name: string) => /^\d+(\.\d+)?$/.test(name) && Number(name) > 0;

/** The same with the model that the backend serves where nobody named one: what is measured, and kept as that. */
export async function withModel(target: BenchmarkTarget, signal: AbortSignal): Promise<BenchmarkTarget> {
  if (target.model !== undefined || isNumber(target.name)) return target;
  const model = await askModel(toOurName(target.name), target.backendUrl, { headers: target.headers, signal });
  return { ...target, model };
}

/** The throughput of each run, or the one that a module or a number gives. Throws when the backend does not do its part. */
export async function measureRuns(target: BenchmarkTarget, context: BenchmarkContext): Promise<number[]> {
  const { backendUrl, model, headers } = await withModel(target, context.signal);
  const name = toOurName(target.name);
  if (isNumber(name)) return [Number(name)];
  if (isKnownBenchmark(name)) {
    return runBenchmark(planOf(name, backendUrl, { model, headers, signal: context.signal }), context);
  }
  if (!/[./\\]/.test(name) || name.includes(':benchmark')) {
    throw new ConfigError([`BENCHMARK: takes ${knownBenchmarks.join(', ')}, a number, or the path of a module`]);
  }
  const { benchmark } = load(name) as { benchmark?: Benchmark };
  if (typeof benchmark !== 'function') throw new Error('the module exports no function named benchmark');
  const result = await benchmark(backendUrl, context);
  if (!(Number.isFinite(result) && result > 0)) throw new Error('the benchmark gave no number above 0');
  return [result];
}

interface Result {
  backend: string;
  model: string | null;
  benchmark: string;
  throughput: number;
}

/** undefined where there is none, or one of a predecessor. */
async function readResult(file: string): Promise<Result | undefined> {
  try {
    const result = JSON.parse(await readFile(file, 'utf8')) as Partial<Result> | number | null;
    return typeof result === 'object' && Number(result?.throughput) > 0 ? (result as Result) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a result of this backend is there, of whichever model: then the backend was well before. */
export async function wasMeasured(file: string, { backendUrl, name }: BenchmarkTarget): Promise<boolean> {
  const result = await readResult(file);
  return !isNumber(name) && result?.backend === backendUrl && result.benchmark === name;
}

/** The cached throughput of this very target: another backend, model or benchmark is measured anew. */
export async function readCached(file: string, target: BenchmarkTarget): Promise<number | undefined> {
  const result = await readResult(file);
  const isSame = (await wasMeasured(file, target)) && result?.model === (target.model ?? null);
  return isSame ? result?.throughput : undefined;
}

/** Nothing is kept where nothing was measured. */
export async function writeCached(file: string, target: BenchmarkTarget, throughput: number): Promise<void> {
  const { backendUrl: backend, model = null, name: benchmark } = target;
  if (isNumber(benchmark)) return;
  const result: Result = { backend, model, benchmark, throughput };
  await writeFile(file, `${JSON.stringify(result)}\n`);
}
