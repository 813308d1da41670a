import { HttpError } from '#shared/errors.ts';
import { readText } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import { type Format, fromBody, fromSearch, parseQuery, refuse } from './report/query.ts';
import { toReportCsv, toWire, toWireTotals } from './report/render.ts';
import type { Reports } from './report/report.ts';
import { isBrowser, type RouteCall, type RoutingTable } from './routes.ts';

export interface LlmGlobalSpendOptions extends Partial<RoutingTable> {
  reports: Reports;
  now: () => Date;
  /** The whole answer's, below the platform's own. */
  deadlineMs: number;
}

/** Parameters of the URL and of a JSON body, which n8n sends. The same name in both is refused. */
async function readParameters(event: FunctionEvent): Promise<Record<string, unknown>> {
  const search = fromSearch(event.query);
  if (event.method !== 'POST') return search;
  const body = await readText(event);
  if (body.trim() === '') return search;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    throw new HttpError(400, 'The request body is not valid JSON: send a JSON object', { code: 'invalid_json' });
  }
  const fields = fromBody(parsed);
  const repeated = Object.keys(fields).find((name) => Object.hasOwn(search, name));
  if (repeated !== undefined) refuse(repeated, 'stands in the URL and in the body: send it once');
  return { ...search, ...fields };
}

/**
 * `GET /`: the three numbers. `GET /?...` and `POST /`: a report. Other paths and formats come from the routing table.
 */
export function createLlmGlobalSpend(options: LlmGlobalSpendOptions): FunctionHandler {
  const { reports, now, deadlineMs, routes = {}, tick } = options;
  const renderers: RoutingTable['renderers'] = {
    json: async (query, { context }) => json(200, toWire(await reports.read(query, context))),
    csv: async (query, { context }) =>
      text(200, toReportCsv(await reports.read(query, context)), {
        'Content-Type': 'text/csv; charset=utf-8',
        'Content-Disposition': `attachment; filename="spend-${query.startDate}-${query.endDate}.csv"`,
      }),
    ...options.renderers,
  };

  async function answerRoot(call: RouteCall): Promise<FunctionResponse> {
    const { event, context } = call;
    const page = isBrowser(event) ? renderers.html : undefined;
    if (event.method === 'GET' && event.query.size === 0 && page === undefined) {
      const totals = await reports.totals(context);
      // The body is three numbers and nothing else, whatever is known of them.
      if (!totals.complete) context.log.warn('the totals are incomplete', { notes: totals.notes });
      return json(200, toWireTotals(totals), { 'X-Spend-Complete': String(totals.complete) });
    }
    const { query, format = page === undefined ? 'json' : 'html' } = parseQuery(await readParameters(event), now());
    return (renderers[format] ?? unknownFormat(format, Object.keys(renderers)))(query, call);
  }

  return async (event, context) => {
    const deadline = AbortSignal.timeout(deadlineMs);
    const call = { event, context: { ...context, signal: AbortSignal.any([context.signal, deadline]) } };
    const root = { 'GET /': answerRoot, 'POST /': answerRoot };
    const table = new Map(Object.entries({ ...root, ...routes }));
    const route = table.get(`${event.method} ${event.path}`);
    try {
      if (tick !== undefined && context.caller.method === 'scheduled-tick') return await tick(call);
      return await (route ?? missing(event, [...table.keys()]))(call);
    } catch (error) {
      throw deadline.aborted && !context.signal.aborted ? toDeadlinePassed(deadlineMs) : error;
    }
  };
}

function missing({ method, path }: FunctionEvent, known: string[]): never {
  const methods = known.filter((key) => key.endsWith(` ${path}`)).map((key) => key.split(' ')[0]);
  if (methods.length === 0) {
    throw new HttpError(404, `There is nothing at ${path}: ask for ${known.join(', ')}`, { code: 'not_found' });
  }
  const Allow = methods.join(', ');
  throw new HttpError(405, `This path answers ${Allow}, not ${method}`, {
    code: 'method_not_allowed',
    headers: { Allow },
  });
}

function unknownFormat(format: Format, known: string[]): never {
  return refuse('format', `takes one of ${known.join(', ')} here, not ${format}`);
}

function toDeadlinePassed(deadlineMs: number) {
  return new HttpError(
    504,
    `LiteLLM needed more than the ${deadlineMs} ms that this answer may take: closed days that were read are remembered, ` +
      'so ask again, ask for fewer days, or raise SPEND_DEADLINE_MS and exec_timeout',
    { code: 'deadline_passed' },
  );
}
