import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent } from '#shared/http/function.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Budgets } from '../budgets/check.ts';
import { toPartsMs } from '../parts.ts';
import type { Reports } from '../report/report.ts';
import { isBrowser, type Renderer } from '../routes.ts';
import { renderPage, renderProblem } from './page.ts';
import { readView } from './view.ts';

export interface PageOptions {
  reports: Reports;
  budgets: Pick<Budgets, 'states'>;
  now: () => Date;
  /** The whole answer's. */
  deadlineMs: number;
}

/** The format `html`. */
export function createPageRenderer({ reports, budgets, now, deadlineMs }: PageOptions): Renderer {
  return async (query, { context: { signal } }) => {
    const at = now();
    return renderPage(await readView(query, { reports, budgets, now: at, signal, partsMs: toPartsMs(deadlineMs) }), at);
  };
}

/** What `GET /?view=...` may show: paths that a link in a page cannot lead to, see links.ts. */
const views = ['statement', 'budgets'];

function toView(event: FunctionEvent): FunctionEvent {
  const view = event.query.get('view');
  if (view === null || event.path !== '/' || event.method !== 'GET') return event;
  if (!views.includes(view)) {
    throw new HttpError(400, `view takes one of ${views.join(', ')}`, { code: 'invalid_parameter' });
  }
  const query = new URLSearchParams(event.query);
  query.delete('view');
  return { ...event, path: `/${view}`, query };
}

/** True for `format=html`, and for a browser that does not ask for another format. */
export function wantsPage(event: FunctionEvent): boolean {
  const format = event.query.get('format');
  return format === null ? isBrowser(event) : event.method === 'GET' && format === 'html';
}

/** Lets pages link to other paths by query, and shows a person a page instead of JSON when something is wrong. */
export function withPages(handler: FunctionHandler): FunctionHandler {
  return async (event, context) => {
    try {
      return await handler(toView(event), context);
    } catch (error) {
      if (context.signal.aborted || !wantsPage(event)) throw error;
      const { status, message, headers } = toProblem(error);
      if (!(error instanceof HttpError)) context.log.error('page failed', { error });
      const shown = renderProblem(status, message, context.callId);
      return { ...shown, headers: { ...shown.headers, ...headers } };
    }
  };
}
