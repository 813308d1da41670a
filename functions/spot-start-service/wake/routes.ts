import { HttpError } from '#shared/errors.ts';
import type { CallContext, FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Route } from '../handler.ts';
import type { Found } from '../resolve/match.ts';
import { onFound } from '../run/found.ts';
import type { Scope, ServiceState, SpotService } from '../service.ts';
import { readWantedUrl } from './address.ts';
import { isVisitor } from './admit.ts';
import { createLimit } from './limits.ts';
import { renderPage } from './page.ts';
import { addressOf, mayStart } from './visit.ts';
import { toFailureView, toView, type View } from './words.ts';

// After a failure nothing is tried for a while: a page that is opened again and again would start in a loop.
const restMs = 30_000;

export interface WakeOptions {
  service: Pick<SpotService, 'resolve' | 'status' | 'wake'>;
  scope: (context: CallContext) => Scope;
  now: () => number;
}

const unknown = (host: string): View => ({
  mood: 'unknown',
  title: 'Nothing sleeps here',
  text: `No service is known for ${host}.`,
  hint: 'If there should be one, it needs a label that names this address.',
  rows: [],
});

const busy: View = {
  mood: 'busy',
  title: 'One moment, please',
  text: 'Too many are asking at once.',
  hint: 'Nothing is wrong: try again in a few seconds.',
  rows: [],
};

/**
 * GET /wake?referral_url= for a reverse proxy's error page, GET /?referral_url= for a browser: the page while you wait.
 * It starts the service unless it is a look of its own, a crawler's, a prefetch or HEAD; 503 until the service answers
 * under its own address.
 */
export function createWakeRoutes({ service, scope, now }: WakeOptions): Route[] {
  const perVisitor = createLimit({ burst: 90, perMinute: 90, now });
  const forAll = createLimit({ burst: 600, perMinute: 1_200, now });
  const starts = createLimit({ burst: 10, perMinute: 10, now });
  const perService = createLimit({ burst: 1, perMinute: 2, now });

  /** Seconds that a visitor has to wait; 0 for callers with a key. */
  function limitOf(event: FunctionEvent, context: CallContext): number {
    if (!isVisitor(context.caller)) return 0;
    return Math.max(perVisitor(addressOf(event.headers, event.remoteAddress)), forAll('all'));
  }

  function needsStart(state: ServiceState): boolean {
    if (state.inProgress !== undefined || ['healthy', 'starting', 'deploying'].includes(state.verdict)) return false;
    return state.failure === undefined || now() - state.failure.atMs > restMs;
  }

  async function lookAndWake(found: Found, event: FunctionEvent, context: CallContext, its: Scope): Promise<View> {
    const state = await service.status(found, its);
    if (!mayStart(event) || !needsStart(state)) return toView(found.name, state, false);
    if (isVisitor(context.caller)) {
      const key = `${found.endpoint.id}/${found.name}`;
      // Somebody's start a moment ago, of which the look knows nothing yet; or more starts than one house needs.
      if (perService(key) > 0) return toView(found.name, state, state.failure === undefined);
      if (starts('all') > 0) return busy;
    }
    const woken = await service.wake(found, { wait: { until: 'fired' } }, its);
    return toView(found.name, woken, woken.failure === undefined);
  }

  async function answer(event: FunctionEvent, context: CallContext): Promise<FunctionResponse> {
    const { callId } = context;
    const waitS = limitOf(event, context);
    if (waitS > 0) return renderPage({ view: busy, callId, retryAfterS: waitS });
    const url = readWantedUrl(event);
    const its = scope(context);
    let name = url.hostname;
    try {
      const wanted = { host: url.hostname.replace(/^\[|\]$|\.$/g, ''), path: url.pathname, shown: url.hostname };
      return await onFound(service, wanted, its, async (found) => {
        if (isVisitor(context.caller) && !found.labelled) return renderPage({ view: unknown(name), callId });
        name = found.name;
        const view = await lookAndWake(found, event, context, its);
        const target = found.hostIsKnown ? url.href : undefined;
        if (view.mood === 'ready' && event.path === '/' && target !== undefined) {
          return { status: 302, headers: { Location: target, 'Cache-Control': 'no-store' } };
        }
        return renderPage({ view, wanted: target, callId });
      });
    } catch (error) {
      const problem = toProblem(error);
      // What is opted out is nobody's business either.
      const isHidden = isVisitor(context.caller) && problem.status === 403;
      if (problem.code === 'service_not_found' || isHidden) return renderPage({ view: unknown(url.hostname), callId });
      if (problem.code === 'ambiguous_service') {
        const message = 'More than one service answers to this address, so none was started.';
        return renderPage({ view: toFailureView(name, { message }), callId });
      }
      context.log.warn('the page had to say that it failed', { code: problem.code, error });
      return renderPage({ view: toFailureView(name, problem), callId });
    }
  }

  const headOf: (run: FunctionHandler) => FunctionHandler = (run) => async (event, context) => {
    const { body: _, ...head } = await run(event, context);
    return head;
  };
  const atRoot: FunctionHandler = (event, context) => {
    if (event.query.has('referral_url')) return answer(event, context);
    throw new HttpError(405, `Method ${event.method} not allowed`, {
      code: 'method_not_allowed',
      headers: { Allow: 'POST' },
    });
  };
  // What is sent to a sleeping service is no reason to wake it, and deserves a 503 too: Traefik passes every method on.
  const others = ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
  return [
    ...['GET', ...others].map((method) => ({ method, path: '/wake', run: answer })),
    { method: 'HEAD', path: '/wake', run: headOf(answer) },
    { method: 'GET', path: '/', run: atRoot },
    { method: 'HEAD', path: '/', run: headOf(atRoot) },
  ];
}
