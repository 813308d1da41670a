import { UpstreamError } from '#shared/errors.ts';

const reasons: [pattern: RegExp, reason: string][] = [
  [/port is already allocated|address already in use|bind for .* failed/i, 'a port that it wants is taken on its host'],
  [
    /pull access denied|manifest unknown|manifest for .* not found|unauthorized.*pull|no such image|failed to resolve reference/i,
    'an image could not be pulled',
  ],
  [/toomanyrequests|rate limit/i, 'the image registry refuses more pulls for now'],
  [/network .* not found|could not find network/i, 'a network that it wants is gone'],
  [/volume .* not found|mount.*(denied|no such file)|invalid mount/i, 'a volume or a path that it mounts is not there'],
  [/no space left/i, 'the disk of its host is full'],
  [/cannot allocate memory|out of memory/i, 'its host has no memory left'],
  [/is already in use by container|container name .* in use/i, 'a container name that it wants is taken'],
  [/dependency failed to start|is unhealthy|didn't complete successfully/i, 'a container that others wait for failed'],
  [/cannot connect to the docker daemon|is the docker daemon running/i, 'Docker on its host does not answer'],
  [/no such file or directory|executable file not found|oci runtime/i, 'a container could not run its command'],
  [/yaml|invalid compose|interpolat|unsupported config|additional propert/i, 'its stack file is not valid'],
];

/** Docker's and compose's own words may quote image, path or variable: of them a sentence is told that is safe. */
export function explain(text: string): string | undefined {
  return reasons.find(([pattern]) => pattern.test(text))?.[1];
}

/** For the log: compose quotes what it could not use, and that may be a variable of the stack. */
export function redact(text: string, env: { value: string }[] = []): string {
  return env.reduce((rest, { value }) => (value.length < 4 ? rest : rest.replaceAll(value, '***')), text);
}

/** True where a new container is what can help: its network is gone, or it is half removed. */
export function needsNewContainer(error: unknown): boolean {
  if (!(error instanceof UpstreamError) || ![404, 409, 500].includes(error.status ?? 0)) return false;
  return /network .* not found|could not find network|no such container|is dead|marked for removal|removal of container|no such image/i.test(
    error.detail,
  );
}

/** True where a container name is in use by one of these: by the project itself, and not by a stranger. */
export function isTakenByItsOwn(text: string, own: { id: string }[]): boolean {
  const holder = /container name .* is already in use by container "?([0-9a-f]{12,64})/i.exec(text)?.[1];
  return holder !== undefined && own.some(({ id }) => id.startsWith(holder.toLowerCase()));
}

/** True where the call may have reached Portainer and go on there: its end is what we did not see. */
export function isEndUnseen(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  if (error.failure === 'timeout') return true;
  // A proxy before Portainer gives up on a long start with 504, and answers 502 or 503 while Portainer restarts.
  if (error.failure === 'status') return [502, 503, 504].includes(error.status ?? 0);
  return error.failure === 'network' && !/ECONNREFUSED|ENOTFOUND|EAI_AGAIN|certificate|CERT_/i.test(error.detail);
}
