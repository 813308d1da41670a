import { HttpError } from '#shared/errors.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import { wantsPage } from '../page/routes.ts';
import type { RoutingTable } from '../routes.ts';
import { createStatements, lastMonth, parseMonth, type StatementsOptions } from './issue.ts';
import { renderStatement } from './page.ts';
import { toStatementCsv, toWireStatement } from './render.ts';

const formats = ['json', 'csv', 'html'];

function parseFormat({ query }: FunctionEvent): string | null {
  const unknown = [...query.keys()].find((name) => name !== 'month' && name !== 'format');
  if (unknown !== undefined) {
    const sentence = `Unknown parameter ${JSON.stringify(unknown.slice(0, 60))}: /statement takes month, format`;
    throw new HttpError(400, sentence, { code: 'unknown_parameter' });
  }
  const format = query.get('format');
  if (format === null || formats.includes(format)) return format;
  throw new HttpError(400, `format takes one of ${formats.join(', ')} here`, { code: 'invalid_parameter' });
}

/** `GET /statement?month=2026-10`. */
export function createStatementRoutes(options: StatementsOptions): Pick<RoutingTable, 'routes'> {
  const issue = createStatements(options);
  return {
    routes: {
      'GET /statement': async ({ event, context }): Promise<FunctionResponse> => {
        const format = parseFormat(event);
        const now = options.now();
        const month = parseMonth(event.query.get('month'), now);
        const statement = await issue(month, context.signal);
        if (format === 'csv') {
          return text(200, toStatementCsv(statement), {
            'Content-Type': 'text/csv; charset=utf-8',
            'Content-Disposition': `attachment; filename="llm-statement-${month}.csv"`,
          });
        }
        if (!wantsPage(event)) return json(200, toWireStatement(statement));
        const isView = new URLSearchParams(event.url.split('?', 2)[1]).has('view');
        return renderStatement(statement, { latest: lastMonth(now), isView });
      },
    },
  };
}
