import { spawnSync } from 'node:child_process';

/** `npm test`: types, style and every test that needs nothing but npm. Arguments go to vitest. */
const steps: [name: string, command: string, ...args: string[]][] = [
  ['types', 'tsc', '--noEmit'],
  ['style', 'biome', 'check', '--colors=off', '.'],
  [
    'tests',
    'vitest',
    'run',
    ...['unit', 'integration', 'e2e'].flatMap((project) => ['--project', project]),
    ...process.argv.slice(2),
  ],
];

for (const [name, command, ...args] of steps) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) {
    console.error(`npm test: ${name} failed (${command} ${args.join(' ')})`);
    process.exit(1);
  }
}
