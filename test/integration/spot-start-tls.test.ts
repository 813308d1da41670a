import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, get, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { bodyOf, makeCall } from '../support/call.ts';
import { createAuthority, createServerCertificate } from '../support/certificate.ts';

const directory = mkdtempSync(join(tmpdir(), 'spot-tls-'));
const authority = createAuthority();
let sandbox: PortainerSandbox;
let server: Server;
let url: string;

beforeAll(async () => {
  sandbox = await startPortainerSandbox();
  // Portainer on 9443: TLS in front of the same API.
  server = createServer(createServerCertificate(authority), (req, res) => {
    const { method, headers } = req;
    const passed = request(
      `${sandbox.url}${req.url}`,
      { ...(method === undefined ? {} : { method }), headers },
      (answer) => {
        res.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(res);
      },
    );
    req.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(join(directory, 'ca.pem'), authority.cert);
  writeFileSync(join(directory, 'stranger.pem'), createAuthority('somebody else').cert);
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await sandbox.close();
  rmSync(directory, { recursive: true });
});

async function ask(env: Record<string, string>) {
  const handler = create({
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: url,
    ...sandbox.credentials,
    ...env,
  });
  const { event, context, lines } = makeCall({ method: 'POST', body: '{"service": "n8n"}' });
  const response = await handler(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown>, lines };
}

test('refuses a certificate that nobody vouches for, says what to do, and sends no password', async () => {
  const { status, body } = await ask({});
  expect(status).toBe(502);
  expect(body.message).toContain('set PORTAINER_CA_FILE or PORTAINER_INSECURE');
  expect(sandbox.ledger).toEqual([]);
});

test('refuses a certificate of another authority than that of PORTAINER_CA_FILE', async () => {
  expect((await ask({ PORTAINER_CA_FILE: join(directory, 'stranger.pem') })).status).toBe(502);
  expect(sandbox.ledger).toEqual([]);
});

test('takes a certificate of the authority in PORTAINER_CA_FILE', async () => {
  const { status, body } = await ask({ PORTAINER_CA_FILE: join(directory, 'ca.pem') });
  expect({ status, action: body.action }).toEqual({ status: 200, action: 'none' });
});

test('takes any certificate with PORTAINER_INSECURE=true, of Portainer alone', async () => {
  expect((await ask({ PORTAINER_INSECURE: 'true' })).status).toBe(200);
  const elsewhere = new Promise((resolve, reject) => get(url, resolve).on('error', reject));
  await expect(elsewhere).rejects.toThrow(/certificate|self.signed/i);
  expect(process.env.NODE_TLS_REJECT_UNAUTHORIZED).toBeUndefined();
});

test('refuses to be built with a PORTAINER_CA_FILE that cannot be read', async () => {
  await expect(ask({ PORTAINER_CA_FILE: join(directory, 'nothing.pem') })).rejects.toThrow(/PORTAINER_CA_FILE/);
});
