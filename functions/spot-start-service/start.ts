import type { PortainerClient, PortainerStack } from '#shared/clients/portainer.ts';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { type ClassifiedContainer, classifyContainers, toObserved } from './containers.ts';
import { type Action, decide, type Plan, type Step } from './decide.ts';
import type { Discovery, Target } from './discover.ts';
import type { ServiceState } from './service.ts';
import { parseStackFile } from './stack-file.ts';

export interface StarterOptions {
  portainer: PortainerClient;
  readFile: Discovery['readFile'];
  /** How long one start or stop is waited for before the containers are watched instead. */
  startTimeoutMs: number;
  /** The whole call. */
  deadlineMs: number;
  now?: () => number;
  sleep: (ms: number) => Promise<void>;
}

export interface Outcome {
  action: Action;
  status?: 'healthy' | 'starting' | 'unhealthy' | undefined;
}

const pollMs = 1_000;

/**
 * Brings a service up. Calls for the same one at the same time share one start, which goes on when its first caller
 * leaves: Portainer would not cancel it either.
 */
export function createStarter(options: StarterOptions) {
  const { portainer, readFile, startTimeoutMs, deadlineMs, sleep, now = Date.now } = options;
  const inFlight = new Map<string, Promise<Outcome>>();

  async function observe(target: Target): Promise<ClassifiedContainer[]> {
    const endpointId = target.endpoint.id;
    const found = toObserved(await portainer.listContainers(endpointId), target.project);
    const observed = await Promise.all(
      found.map(async (item) => {
        if (item.state !== 'exited' || item.exitCode !== 0) return item;
        return { ...item, inspection: await portainer.inspectContainer(endpointId, item.id) };
      }),
    );
    return classifyContainers(observed, now());
  }

  async function missingServices(stack: PortainerStack, containers: ClassifiedContainer[], log: Logger) {
    if (containers.length === 0) return [];
    const text = await readFile(stack, { log, signal: new AbortController().signal });
    const expected = (text === undefined ? undefined : parseStackFile(text, stack.env))?.expected ?? [];
    return expected.filter((service) => !containers.some((item) => item.service === service));
  }

  async function run(target: Target, log: Logger): Promise<Outcome> {
    const endsAtMs = now() + deadlineMs;
    const callTimeout = () => ({ timeoutMs: Math.max(1, Math.min(startTimeoutMs, endsAtMs - now())) });
    const { name, endpoint, stackId } = target;
    const stack = stackId === null ? undefined : await portainer.getStack(stackId);

    async function watch<Result>(look: () => Promise<Result | undefined>): Promise<Result | undefined> {
      for (;;) {
        const seen = await look();
        if (seen !== undefined || now() + pollMs > endsAtMs) return seen;
        await sleep(pollMs);
      }
    }

    const statusOf = (containers: ClassifiedContainer[]): Outcome['status'] => {
      if (containers.length === 0 || containers.some((item) => ['stopped', 'created'].includes(item.class)))
        return undefined;
      if (containers.some((item) => ['unhealthy', 'paused', 'broken'].includes(item.class))) return 'unhealthy';
      return containers.some((item) => item.class === 'starting') ? 'starting' : 'healthy';
    };

    /** A start whose end we did not see, or that another one holds: what the containers do tells how it went. */
    async function watchStart(): Promise<void> {
      const up = await watch(async () => {
        const containers = await observe(target);
        const running = containers.filter((item) => item.state === 'running').length;
        const status = statusOf(containers);
        const waiting = containers.some((item) => item.state === 'created');
        return running > 0 && !waiting && status !== undefined ? status : undefined;
      });
      if (up !== undefined) return;
      throw new HttpError(504, `Portainer is still starting service ${name}: ask again in a moment`, {
        code: 'still_starting',
        headers: { 'Retry-After': '10' },
      });
    }

    async function start(managed: PortainerStack): Promise<void> {
      try {
        const change = await portainer.startStack(managed, callTimeout());
        if (change.outcome === 'done') return;
        log.warn('Portainer refused a start: another one holds the stack', {
          stack_id: managed.id,
          reason: change.message,
        });
      } catch (error) {
        if (!(error instanceof UpstreamError) || error.failure !== 'timeout') throw error;
        log.warn('a start outlasts its deadline and goes on in Portainer', { stack_id: managed.id });
      }
      await watchStart();
    }

    /** After the containers are gone: a failure now leaves the service worse than it was, and says so. */
    async function startAgain(managed: PortainerStack): Promise<void> {
      const gone = await watch(async () => ((await observe(target)).length === 0 ? true : undefined));
      if (gone === undefined) {
        throw new HttpError(
          504,
          `Portainer is still stopping service ${name} to start it anew: ask again in a moment`,
          {
            code: 'still_stopping',
            headers: { 'Retry-After': '10' },
          },
        );
      }
      try {
        await start(managed);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        log.error('a stack was stopped and could not be started again', { stack_id: managed.id, error });
        const message = `Service ${name} was stopped to be started anew, and Portainer could not start it: it is down now`;
        throw new HttpError(502, message, { code: 'start_failed_after_stop' });
      }
    }

    async function recreate(managed: PortainerStack): Promise<void> {
      try {
        // A refusal means that it is inactive already, which is what we want.
        await portainer.stopStack(managed, callTimeout());
      } catch (error) {
        // The stop goes on: without a start after it the service would stay down.
        if (!(error instanceof UpstreamError) || error.failure !== 'timeout') throw error;
        log.warn('a stop outlasts its deadline and goes on in Portainer', { stack_id: managed.id });
      }
      await startAgain(managed);
    }

    async function replace(managed: PortainerStack): Promise<void> {
      for (const { id, state } of await observe(target)) {
        // Whatever runs is not ours to remove: the start then fails with Portainer's own refusal.
        if (state !== 'running') await portainer.removeContainer(endpoint.id, id, callTimeout());
      }
      await start(managed);
    }

    async function take({ kind, containerId }: Step): Promise<void> {
      if (kind === 'start') await portainer.startContainer(endpoint.id, containerId, callTimeout());
      else if (kind === 'restart') await portainer.restartContainer(endpoint.id, containerId, callTimeout());
      else await portainer.unpauseContainer(endpoint.id, containerId, callTimeout());
    }

    async function repair(plan: Plan & { kind: 'repair' }, managed: PortainerStack): Promise<void> {
      try {
        for (const step of plan.steps) await take(step);
      } catch (error) {
        const refused = error instanceof UpstreamError && [404, 409, 500].includes(error.status ?? 0);
        if (!refused || plan.fallback === 'none') throw error;
        log.warn('Docker refused to repair a container: the stack is made anew', { stack_id: managed.id, error });
        await (plan.fallback === 'recreate' ? recreate(managed) : replace(managed));
      }
    }

    const containers = await observe(target);
    const missing = stack === undefined ? [] : await missingServices(stack, containers, log);
    const plan = decide({ name, stack, containers, missing });
    if (plan.kind === 'none') return { action: 'none', status: plan.status };
    if (plan.kind === 'refuse') throw new HttpError(plan.status, plan.message, { code: plan.code });
    const managed = stack as PortainerStack;
    log.info('bringing a service up', {
      service: name,
      endpoint: endpoint.name,
      stack_id: managed.id,
      plan: plan.kind,
    });
    if (plan.kind === 'start-stack') await start(managed);
    else if (plan.kind === 'repair') await repair(plan, managed);
    else await (plan.kind === 'recreate' ? recreate(managed) : replace(managed));
    // The deed is done: a list that fails now must not turn it into an error.
    return { action: plan.action, status: statusOf(await observe(target).catch(() => [])) };
  }

  return {
    run: (target: Target, log: Logger): Promise<Outcome> => {
      const key = `${target.endpoint.id}/${target.project}`;
      const running = inFlight.get(key) ?? run(target, log).finally(() => inFlight.delete(key));
      inFlight.set(key, running);
      return running;
    },
    async look(target: Target): Promise<ServiceState> {
      const containers = await observe(target);
      const has = (...classes: string[]) => containers.some((item) => classes.includes(item.class));
      const up = has('ok', 'completed', 'starting');
      const verdict =
        containers.length === 0
          ? 'removed'
          : has('unhealthy', 'paused', 'broken')
            ? 'unhealthy'
            : has('stopped', 'created')
              ? up
                ? 'partial'
                : 'stopped'
              : has('starting')
                ? 'starting'
                : 'healthy';
      return { verdict, containers };
    },
  };
}

export type Starter = ReturnType<typeof createStarter>;
