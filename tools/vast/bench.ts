import { parseArgs } from 'node:util';
import { measureRuns } from '../../functions/completion-proxy/worker/benchmark/benchmark.ts';

/**
 * `npm run vast-bench -- --backend URL --benchmark openai [--model NAME] [--key KEY]`: what a worker would report as its
 * throughput, with every run and their spread. Exits 1 when it cannot be measured.
 */
const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { backend: text, benchmark: text, model: text, key: text } });
const { backend, benchmark, model, key } = values;
if (backend === undefined || benchmark === undefined) {
  console.error('usage: npm run vast-bench -- --backend URL --benchmark openai|openai-chat|tgi|ollama|comfyui|PATH');
  process.exit(2);
}

const say = (message: string, fields: Record<string, unknown> = {}) =>
  console.error(`${message} ${JSON.stringify(fields)}`);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
const target = {
  name: benchmark,
  backendUrl: backend.replace(/\/+$/, ''),
  model,
  headers: (): Record<string, string> => (key === undefined ? {} : { Authorization: `Bearer ${key}` }),
};
try {
  const runs = await measureRuns(target, { signal: stop.signal, log: { info: say, warn: say } });
  const shown = (value: number) => value.toFixed(1);
  const mean = runs.reduce((sum, run) => sum + run, 0) / runs.length;
  const deviation = Math.sqrt(runs.reduce((sum, run) => sum + (run - mean) ** 2, 0) / runs.length);
  console.log(`throughput ${shown(Math.max(...runs))} per second, the best of ${runs.length} runs`);
  console.log(`mean ${shown(mean)}, standard deviation ${shown(deviation)}, worst ${shown(Math.min(...runs))}`);
} catch (error) {
  console.error(`it could not be measured: ${(error as Error).message}`);
  process.exitCode = 1;
}
