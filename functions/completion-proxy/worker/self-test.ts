import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { createHttpClient } from '#shared/clients/http.ts';
import { type AuthData, readAuthMembers, toAuthQuery } from '../vast/auth-data.ts';
import { rawMembers } from '../vast/raw-json.ts';
import { matchingForm, parsePublicKey, signatureForms } from '../vast/signature.ts';
import { readWorkerConfig, type WorkerConfig } from './config.ts';
import { formHeader } from './handler.ts';
import { fetchKey } from './worker.ts';

/** A ticket of the autoscaler, for the endpoint that the settings name. */
async function askTicket({ settings, keyAddresses }: WorkerConfig): Promise<AuthData> {
  const client = createHttpClient({ service: 'The autoscaler', baseUrl: keyAddresses[0]!, timeoutMs: 10_000 });
  const { text } = await client.request({
    method: 'POST',
    path: '/route/',
    headers: { Authorization: `Bearer ${settings['vast-api-key']!.read()}` },
    json: { endpoint: settings.VAST_ENDPOINT, cost: 1 },
  });
  const { auth, problems } = readAuthMembers(rawMembers(text) ?? new Map());
  if (Object.keys(problems).length > 0) throw new Error(`no ticket: no worker is ready (${text.slice(0, 200)})`);
  return auth;
}

/** Through the door as a client comes, on this machine. The certificate is for the public address, so it is not checked. */
function callWorker({ settings }: WorkerConfig, auth: AuthData): Promise<{ status: number; form: string | undefined }> {
  const { WORKER_PORT: port, WORKER_HOST, USE_SSL, HEALTHCHECK_ENDPOINT = '/health' } = settings;
  const host = WORKER_HOST === '0.0.0.0' ? '127.0.0.1' : WORKER_HOST;
  const path = `${HEALTHCHECK_ENDPOINT}${HEALTHCHECK_ENDPOINT.includes('?') ? '&' : '?'}${toAuthQuery(auth)}`;
  return new Promise((resolve, reject) => {
    const options = { host, port, path, timeout: 10_000 };
    const request = USE_SSL ? requestHttps({ ...options, rejectUnauthorized: false }) : requestHttp(options);
    request
      .once('response', (response) => {
        response.resume();
        const form = response.headers[formHeader.toLowerCase()];
        resolve({ status: response.statusCode ?? 0, form: form === undefined ? undefined : String(form) });
      })
      .once('timeout', () => request.destroy(new Error('the worker did not answer in 10 s')))
      .once('error', reject)
      .end();
  });
}

/**
 * Asks the autoscaler for a ticket, says which forms of the signed message its signature is right for, and sends a call
 * with it through the running worker. Resolves with whether that worker took it.
 */
export async function selfTest(env: NodeJS.ProcessEnv, say: (line: string) => void): Promise<boolean> {
  const config = readWorkerConfig(env);
  const { settings } = config;
  if (settings.VAST_ENDPOINT === undefined || settings['vast-api-key']?.read() === undefined) {
    say('VAST_ENDPOINT and VAST_API_KEY are needed: the autoscaler signs for an endpoint only');
    return false;
  }
  try {
    const key = parsePublicKey(await fetchKey(config, AbortSignal.timeout(settings.PUBKEY_TIMEOUT)));
    const auth = await askTicket(config);
    const matching = signatureForms.filter((form) => matchingForm(key, auth, [form]) !== undefined);
    say(`the signature matches: ${matching.join(', ') || 'none of the known forms'}`);
    say(`VAST_SIGNATURE_FORM accepts: ${settings.VAST_SIGNATURE_FORM.join(', ')}`);
    const url = JSON.parse(auth.url) as string;
    if (config.vast !== undefined && url !== config.vast.url) say(`the ticket is for another worker: ${url}`);
    const { status, form } = await callWorker(config, auth);
    say(`the worker answered ${status}${form === undefined ? '' : `, and took the form ${form}`}`);
    return form !== undefined || (settings.UNSECURED && status < 500);
  } catch (error) {
    say(`failed: ${(error as Error).message}`);
    return false;
  }
}
