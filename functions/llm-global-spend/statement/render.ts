import { toCsv } from '../report/render.ts';
import { type StatementAmounts, statementTables } from './figures.ts';
import type { Statement } from './issue.ts';

/** `format=json`. The checksum is over the text of `figures` as JSON.stringify writes it. */
export const toWireStatement = ({ status, issuedAt, checksum, figures, adjustments, durable, notes }: Statement) => ({
  month: figures.month,
  status,
  issued_at: issuedAt,
  checksum,
  durable,
  figures,
  adjustments,
  notes,
});

/** `format=csv`: one row a line, its table in the first column. */
export function toStatementCsv({ status, issuedAt, checksum, figures, adjustments, notes }: Statement): string {
  const { month, total, tables } = figures;
  const cells = (amounts: StatementAmounts) => [
    amounts.spend_usd,
    amounts.requests,
    amounts.input_tokens,
    amounts.output_tokens,
    amounts.total_tokens,
  ];
  const header = [
    'month',
    'table',
    'id',
    'name',
    'spend_usd',
    'requests',
    'input_tokens',
    'output_tokens',
    'total_tokens',
  ];
  const facts = [
    ['status', status],
    ['issued_at', issuedAt ?? ''],
    ['checksum', checksum],
    ...notes.map(({ code, message }) => [code, message] as [string, string]),
  ] as [string, string][];
  return toCsv([
    header,
    [month, 'total', '', '', ...cells(total)],
    ...statementTables.flatMap((table) =>
      (tables[table] ?? []).map((line) => [month, table, line.id, line.name, ...cells(line)]),
    ),
    ...(adjustments ?? []).map((line) => [
      month,
      `adjustment of ${line.table}`,
      line.id,
      line.name,
      line.difference_usd,
      line.difference_requests,
      null,
      null,
      line.difference_tokens,
    ]),
    ...facts.map(([name, value]) => [month, 'statement', name, value, null, null, null, null, null]),
  ]);
}
