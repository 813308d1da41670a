import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { readSecret } from '#shared/config/secrets.ts';
import { fetchApiKey } from './api-key.ts';
import { runProvision } from './provision.ts';

const usage = `usage:
  npm run lago -- provision -f plan.yml [--dry-run] [--yes]
      shows how Lago differs from the plan, asks, and makes it so
      LAGO_API_BASE, LAGO_API_KEY (or .secrets/lago-api-key)
  npm run lago -- api-key --email you@example.com [--organization ID] [--name KEY] [--out .secrets/lago-api-key]
      logs in and prints the API key, or writes it to a file
      LAGO_API_BASE, LAGO_PASSWORD (else it asks)`;

function fail(message: string, code = 1): never {
  console.error(message);
  process.exit(code);
}

async function ask(question: string, options: { hidden?: boolean } = {}): Promise<string> {
  // Without a terminal nobody answers: a no is safer than waiting for ever.
  if (!process.stdin.isTTY) return '';
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const output = options.hidden === true ? silent : process.stderr;
  const lines = createInterface({ input: process.stdin, output, terminal: true });
  const answer = await lines.question('');
  lines.close();
  if (options.hidden === true) process.stderr.write('\n');
  return answer.trim();
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      file: { type: 'string', short: 'f' },
      'dry-run': { type: 'boolean', default: false },
      yes: { type: 'boolean', default: false },
      email: { type: 'string' },
      organization: { type: 'string' },
      name: { type: 'string' },
      out: { type: 'string' },
    },
  });
  const env: NodeJS.ProcessEnv = { SECRET_MOUNT_PATH: '.secrets', ...process.env };
  const baseUrl = env.LAGO_API_BASE?.trim() ?? '';
  const [command] = positionals;
  if (command !== 'provision' && command !== 'api-key') fail(usage, 2);
  if (baseUrl === '') fail(`LAGO_API_BASE is not set: the URL of Lago's API\n\n${usage}`, 2);

  if (command === 'provision') {
    const apiKey = readSecret('lago-api-key', env).read();
    if (values.file === undefined || apiKey === undefined) fail(usage, 2);
    const result = await runProvision({
      baseUrl,
      apiKey,
      plan: readFileSync(values.file, 'utf8'),
      dryRun: values['dry-run'],
      confirm: async (question) => values.yes || /^y(es)?$/i.test(await ask(`${question} [y/N] `)),
      print: console.log,
    });
    const isOpen = result.changes.some(({ action }) => action === 'conflict');
    process.exit(isOpen ? 1 : 0);
  }

  if (values.email === undefined) fail(usage, 2);
  const password = env.LAGO_PASSWORD ?? (await ask('Password: ', { hidden: true }));
  const { organization: organizationId, name: keyName, email } = values;
  const key = await fetchApiKey({ baseUrl, email, password, organizationId, keyName });
  if (values.out === undefined) return console.log(key);
  writeFileSync(values.out, `${key}\n`, { mode: 0o600 });
  console.error(`The API key is in ${values.out}`);
}

await main().catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));
