import create from '../../functions/spot-start-service/index.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { startPortainerSandbox } from '../../sandbox/portainer.ts';
import { serveHandler } from '../../test/support/serve.ts';
import { atMost, type Bench, type Contender, median, sideBySide } from './harness.ts';

const callsARound = 30;
/** Other stacks on the same host: what an index is for. */
const otherStacks = 40;

const stackFile = (at: number) =>
  `services:\n  app:\n    image: app:1\n    restart: always\n    labels:\n      spot-start.host: app-${at}.example.com\n`;

/** What a healthy service costs when the index is warm: calls made to Portainer, and time against Portainer's own answer. */
export const bench: Bench = async (report) => {
  const portainer = await startPortainerSandbox({ profile: 'new' });
  for (let at = 0; at < otherStacks; at++) {
    addStack(portainer.world, { name: `app-${at}`, status: 1, file: stackFile(at), containers: {} });
  }
  const spot = await serveHandler(
    create({
      AUTH: 'none',
      SECRET_MOUNT_PATH: '/nonexistent',
      PORTAINER_API_URL: portainer.url,
      PORTAINER_API_KEY: portainer.apiKey,
      LOG_LEVEL: 'error',
    }),
  );
  const upstream = `${portainer.url}/api/endpoints/10/docker/containers/json?all=1`;
  const post = (body: unknown) => fetch(spot.url, { method: 'POST', body: JSON.stringify(body) });
  const ways: Record<string, () => Promise<Response>> = {
    'Portainer itself: one list of containers': () => fetch(upstream, { headers: { 'X-API-KEY': portainer.apiKey } }),
    'POST / by service': () => post({ service: 'n8n' }),
    'POST / by referral_url': () => post({ referral_url: 'https://n8n.server.local/workflows' }),
    'GET /wake, a look of the page': () =>
      fetch(`${spot.url}/wake?referral_url=https://n8n.server.local/`, { headers: { 'X-Spot-Start': 'poll' } }),
  };
  const upstreamCalls = new Map<string, number[]>();
  const contenders = Object.entries(ways).map(
    ([name, ask]): Contender => ({
      name,
      async measure() {
        const before = portainer.ledger.length;
        const startedAt = performance.now();
        for (let call = 0; call < callsARound; call++) {
          const answer = await ask();
          const text = await answer.text();
          if (!answer.ok && !text.includes('n8n is up'))
            throw new Error(`${name}: ${answer.status} ${text.slice(0, 200)}`);
        }
        const tookMs = (performance.now() - startedAt) / callsARound;
        upstreamCalls.set(name, [...(upstreamCalls.get(name) ?? []), (portainer.ledger.length - before) / callsARound]);
        portainer.ledger.length = 0;
        return tookMs;
      },
    }),
  );
  report(
    `spot: ${otherStacks + 5} stacks on 2 endpoints, a healthy service, ${callsARound} calls a round, 12 rounds in turn`,
  );
  try {
    const rows = await sideBySide(contenders, { rounds: 12, unit: 'ms' });
    const targets = contenders.slice(1).map(({ name }) => {
      // Without the first round, which fills the index.
      return atMost(`${name}: calls to Portainer`, median((upstreamCalls.get(name) ?? []).slice(1)), 2);
    });
    return { bench: 'spot', rows, targets };
  } finally {
    await spot.close();
    await portainer.close();
  }
};
