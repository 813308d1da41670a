import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { ConfigError } from '#shared/errors.ts';
import { isKnownBenchmark, knownBenchmarks, planOf } from './known.ts';
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

/** The throughput of each run, or the one that a module or a number gives. Throws when the backend does not do its part. */
export async function measureRuns(target: BenchmarkTarget, context: BenchmarkContext): Promise<number[]> {
  const { backendUrl, model, headers } = target;
  const name = toOurName(target.name);
  if (/^\d+(\.\d+)?$/.test(name) && Number(name) > 0) return [Number(name)];
  if (isKnownBenchmark(name)) {
    const plan = await planOf(name, backendUrl, { model, headers, signal: context.signal });
    return runBenchmark(plan, context);
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

/** What a result belongs to: another backend, model or benchmark is measured anew. */
const keyOf = ({ name, backendUrl, model }: BenchmarkTarget) => JSON.stringify([backendUrl, model ?? null, name]);

/** The cached throughput of this very target; undefined where there is none, or a file of a predecessor. */
export async function readCached(file: string, target: BenchmarkTarget): Promise<number | undefined> {
  try {
    const { key, throughput } = JSON.parse(await readFile(file, 'utf8')) as { key?: string; throughput?: number };
    return key === keyOf(target) && throughput! > 0 ? throughput : undefined;
  } catch {
    return undefined;
  }
}

export async function writeCached(file: string, target: BenchmarkTarget, throughput: number): Promise<void> {
  await writeFile(file, `${JSON.stringify({ key: keyOf(target), throughput })}\n`);
}
