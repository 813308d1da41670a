import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Bench, toTable } from './harness.ts';

/**
 * `npm run bench -- NAME [--json]`. The table goes to stderr with `--json`, so that stdout is one JSON object and
 * nothing else (`npm run --silent`). Exits 1 when a target is missed.
 */
const { values, positionals } = parseArgs({ options: { json: { type: 'boolean' } }, allowPositionals: true });
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !['main.ts', 'harness.ts'].includes(file))
  .map((file) => file.slice(0, -3));
const [name = ''] = positionals;
if (!names.includes(name)) {
  console.error(`usage: npm run bench -- NAME [--json], where NAME is one of: ${names.join(', ')}`);
  process.exit(2);
}

const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
const report = await bench((line) => console.error(line));
if (values.json) {
  console.error(toTable(report));
  console.log(JSON.stringify(report));
} else {
  console.log(toTable(report));
}
process.exit(report.targets.every(({ ok }) => ok) ? 0 : 1);
