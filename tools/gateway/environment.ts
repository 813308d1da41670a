import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { StackFunction } from '../stack/stack.ts';
import { boldSettings, findUpstreams, type Sandboxes, type UpstreamUse } from './upstreams.ts';

export interface PreparedFunction {
  /** Everything that its process sees, but PORT and HOST. */
  environment: Record<string, string>;
  upstreams: UpstreamUse[];
  /** The AUTH that stands in for one whose secret is not configured. */
  openedAuth: string | undefined;
  /** What the person who starts the gateway should know. */
  notes: string[];
}

export interface PrepareOptions {
  spec: StackFunction;
  /** Where secrets lie as files, `.secrets` in the checkout. */
  secretsFolder: string;
  /** A folder of this function's own, for its secrets and as its /tmp: both end with the gateway, as with a container. */
  folder: string;
  sandboxes: Pick<Sandboxes, 'get'>;
  host: NodeJS.ProcessEnv;
}

const variableOf = (secret: string) => secret.toUpperCase().replaceAll('-', '_');
const keyOf: Record<string, string> = { 'api-key': 'function-api-key', hmac: 'webhook-secret' };

/**
 * `AUTH` for a gateway that only this machine reaches: a method whose secret is not configured becomes `none`. Undefined
 * when everything is configured. A deployment never does this: there the function refuses to start.
 */
export function openAuth(auth: string | undefined, isConfigured: (secret: string) => boolean): string | undefined {
  const methods = (auth?.trim() || 'api-key').split(',').map((method) => method.trim());
  const kept = methods.filter((method) => keyOf[method] === undefined || isConfigured(keyOf[method]));
  return kept.length === methods.length ? undefined : [...new Set([...kept, 'none'])].join(',');
}

/** Makes a function's environment and its folder of secrets, with a double for each upstream that has no URL. */
export async function prepareFunction(options: PrepareOptions): Promise<PreparedFunction> {
  const { spec, secretsFolder, folder, sandboxes, host } = options;
  const [mountFolder, temporary] = [join(folder, 'secrets'), join(folder, 'tmp')];
  for (const each of [mountFolder, temporary]) mkdirSync(each, { recursive: true });
  const notes: string[] = [];
  const secretFile = (name: string) => join(secretsFolder, name);
  const hasFile = (name: string) =>
    existsSync(secretFile(name)) && readFileSync(secretFile(name), 'utf8').trim() !== '';
  const upstreams = findUpstreams(spec, (name) => hasFile(name) || Boolean(host[variableOf(name)]?.trim()));
  const environment: Record<string, string> = { ...spec.environment };
  for (const name of ['PATH', 'HOME']) {
    if (host[name] !== undefined) environment[name] ??= host[name];
  }
  environment.TMPDIR = temporary;
  environment.SECRET_MOUNT_PATH = mountFolder;

  const supplied = new Set<string>();
  for (const { variable } of upstreams.filter(({ sandbox }) => sandbox)) {
    const { url, credentials } = await sandboxes.get(variable);
    const bold = boldSettings(environment, variable, new Date());
    for (const [name, value] of Object.entries(bold))
      notes.push(`${name}=${value}, as it is empty and ${variable} is a sandbox`);
    Object.assign(environment, bold, { [variable]: url }, credentials);
    for (const name of Object.keys(credentials)) supplied.add(name);
  }

  const missing: string[] = [];
  for (const name of spec.secrets) {
    // A real credential must not reach a double, and the double would refuse it.
    if (supplied.has(variableOf(name))) continue;
    // A link, so that a rotated secret arrives as it does in a deployment.
    if (existsSync(secretFile(name))) symlinkSync(secretFile(name), join(mountFolder, name));
    else if (host[variableOf(name)]) environment[variableOf(name)] ??= host[variableOf(name)]!;
    else if (!environment[variableOf(name)]) missing.push(name);
  }
  const usesRealOnly = upstreams.every(({ sandbox }) => !sandbox);
  const told = missing.filter((name) => usesRealOnly && !Object.values(keyOf).includes(name));
  if (told.length > 0)
    notes.push(`no secret ${told.join(', ')} in .secrets/, nor exported as ${told.map(variableOf).join(', ')}`);

  const isConfigured = (secret: string) =>
    (spec.secrets.includes(secret) && hasFile(secret)) || Boolean(environment[variableOf(secret)]?.trim());
  const openedAuth = openAuth(environment.AUTH, isConfigured);
  if (openedAuth !== undefined) environment.AUTH = openedAuth;
  return { environment, upstreams, openedAuth, notes };
}
