import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildFunction, bundleFile } from '../build.ts';
import { findStackFile, readStack, type StackFunction } from '../stack/stack.ts';
import { scheduleOf, sendTick, startSchedule } from './cron.ts';
import { parseDurationMs } from './duration.ts';
import { type PreparedFunction, prepareFunction } from './environment.ts';
import { startFront } from './front.ts';
import { createJournal } from './journal.ts';
import { type Child, createChild } from './supervisor.ts';
import { authLines, curlLines, timeoutLines, upstreamLines } from './table.ts';
import { createSandboxes } from './upstreams.ts';
import { watchFolders } from './watch.ts';

interface RunningFunction {
  spec: StackFunction;
  prepared: PreparedFunction;
  child: Child;
}

const usage = `npm start -- [-f FILE] [--cron] [--watch]
  -f, --file FILE   the stack file (default: stack.yaml, stack.yml, else stack.sample.yml)
      --cron        scheduled ticks also for functions that use a real service
      --watch       rebuild and restart on change`;

const { values } = parseArgs({
  options: {
    file: { type: 'string', short: 'f' },
    cron: { type: 'boolean', default: false },
    watch: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const journal = createJournal((line) => process.stdout.write(`${line}\n`));
const say = journal.write;

function readBundle(name: string): string {
  return existsSync(bundleFile(name)) ? readFileSync(bundleFile(name), 'utf8') : '';
}

async function run(): Promise<void> {
  const port = Number(process.env.PORT || 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('PORT must be a number from 0 to 65535');
  // OpenFaaS's own name and default for the gateway's patience.
  const upstreamTimeoutMs = parseDurationMs(process.env.upstream_timeout, 60_000);
  const file = relative(process.cwd(), resolve(values.file ?? findStackFile(process.cwd())));
  const stack = readStack(file, process.env);
  const scratch = mkdtempSync(join(tmpdir(), 'functions-'));
  const sandboxes = createSandboxes();
  const functions: RunningFunction[] = [];
  const stops: (() => unknown)[] = [];

  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= (async () => {
      for (const each of stops.reverse()) await each();
      await Promise.all(functions.map(({ child }) => child.stop()));
      await sandboxes.close();
      rmSync(scratch, { recursive: true, force: true });
    })();
    return stopping;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => void stop().then(() => process.exit(0)));
  }

  try {
    // The port first: a taken one should say so before anything is built.
    const front = await startFront({
      functions: () => functions.map(({ spec, child }) => ({ spec, port: child.port })),
      port,
      journal,
      upstreamTimeoutMs,
    });
    stops.push(front.close);
    say(`Local gateway for ${file}. Production is OpenFaaS: faas-cli up -f ${file}`);

    const started = await Promise.all(stack.functions.map((spec) => startOne(spec)));
    functions.sort((left, right) => stack.functions.indexOf(left.spec) - stack.functions.indexOf(right.spec));
    for (const line of upstreamLines(functions)) say(line);
    for (const line of authLines(functions)) say(line);
    for (const line of timeoutLines(functions, upstreamTimeoutMs)) say(line);
    for (const { spec, prepared } of functions) {
      for (const note of prepared.notes) say(`  ${spec.name}: ${note}`);
      startTicks(spec, prepared, front.url);
    }
    say('');
    for (const line of curlLines(functions, front.url)) say(line);
    say(started.every(Boolean) ? '\nReady. Ctrl-C stops everything.' : '\nNot every function is up: see above.');

    if (values.watch) stops.push(watchFolders(['functions', 'shared', 'template'], rebuild));
  } catch (error) {
    await stop();
    throw error;
  }

  async function startOne(spec: StackFunction): Promise<boolean> {
    try {
      const [program, prepared] = await Promise.all([
        buildFunction(spec),
        prepareFunction({
          spec,
          secretsFolder: resolve('.secrets'),
          folder: join(scratch, spec.name),
          sandboxes,
          host: process.env,
        }),
      ]);
      const child = createChild({ name: spec.name, program, environment: prepared.environment, log: say });
      functions.push({ spec, prepared, child });
      return await child.start();
    } catch (error) {
      say(`${spec.name} | ${(error as Error).message}`);
      return false;
    }
  }

  async function rebuild() {
    for (const spec of stack.functions) {
      const running = functions.find((item) => item.spec === spec);
      try {
        const before = readBundle(spec.name);
        await buildFunction(spec);
        if (running === undefined) await startOne(spec);
        else if (before !== readBundle(spec.name) && (await running.child.restart())) say(`${spec.name} | rebuilt`);
      } catch (error) {
        say(`${spec.name} | ${(error as Error).message}`);
      }
    }
  }

  function startTicks(spec: StackFunction, { upstreams }: PreparedFunction, url: string) {
    const schedule = scheduleOf(spec);
    if (schedule === undefined) return;
    const real = upstreams.filter(({ sandbox }) => !sandbox).map(({ name }) => name);
    if (real.length > 0 && !values.cron) {
      say(`  ${spec.name}: no scheduled ticks, as ${real.join(' and ')} is real; --cron sends them`);
      return;
    }
    const job = startSchedule(schedule, () => {
      sendTick(url, spec.name).then(
        (status) => say(`cron | ${spec.name} ${status}`),
        (error: Error) => say(`cron | ${spec.name} ${error.message}`),
      );
    });
    if (job === undefined) say(`  ${spec.name}: "${schedule}" is no schedule; cron-connector would ignore it silently`);
    else {
      say(`  ${spec.name}: scheduled tick at "${schedule}" UTC`);
      stops.push(() => job.stop());
    }
  }
}

if (values.help) say(usage);
else {
  run().catch((error: NodeJS.ErrnoException) => {
    const taken = `Port ${process.env.PORT || 8080} is taken: stop what listens there, or choose another with PORT=8090 npm start`;
    console.error(error.code === 'EADDRINUSE' ? taken : error.message);
    process.exit(1);
  });
}
