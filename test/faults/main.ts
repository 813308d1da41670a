import { buildProxy } from '../support/proxy-bundle.ts';
import { scenarios, settings } from './scenarios.ts';
import { answerWell, startFaultUpstream } from './upstream.ts';

/**
 * `npm run test:faults [-- S08 S15]`: the sixteen faults of failoverbench against the built bundle, each in a process of
 * its own. One line each, `S01 ok ...` or `S01 FAILED ...`; exits 1 when one failed.
 */
const wanted = process.argv.slice(2);
const unknown = wanted.filter((id) => !scenarios.some((scenario) => scenario.id === id));
if (unknown.length > 0) {
  console.error(
    `usage: npm run test:faults [-- ID...], where ID is one of: ${scenarios.map(({ id }) => id).join(' ')}`,
  );
  process.exit(2);
}

const bundle = await buildProxy();
let failed = 0;
try {
  for (const { id, title, run } of scenarios) {
    if (wanted.length > 0 && !wanted.includes(id)) continue;
    const primary = await startFaultUpstream();
    const fallback = await startFaultUpstream();
    primary.play((socket, request) => answerWell(socket, request, 'primary-model'));
    fallback.play((socket, request) => answerWell(socket, request, 'fallback-model'));
    const proxy = await bundle.start(settings(primary.url, fallback.url));
    try {
      await run({ url: proxy.url, primary, fallback });
      if (proxy.child.exitCode !== null) throw new Error('the proxy has ended');
      console.log(`${id} ok ${title}`);
    } catch (error) {
      failed += 1;
      const [reason] = (error as Error).message.split('\n', 1);
      console.log(`${id} FAILED ${title}: ${reason}`);
      if (wanted.length > 0) console.error(error, proxy.lines.join('\n'));
    } finally {
      proxy.child.kill('SIGKILL');
      await proxy.exited;
      await Promise.all([primary.close(), fallback.close()]);
    }
  }
} finally {
  await bundle.close();
}
process.exit(failed === 0 ? 0 : 1);
