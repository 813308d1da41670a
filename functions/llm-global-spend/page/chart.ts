import { html, type Markup } from '#shared/http/html.ts';
import { usdToNumber } from '#shared/money.ts';
import { dollars } from './format.ts';
import type { Column, StackedDays } from './series.ts';

const round = (value: number) => Number(value.toFixed(1));

/** Up to six round ticks from 0 that reach `top`. */
export function toTicks(top: number): number[] {
  if (!(top > 0)) return [0, 1];
  const rough = top / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5].find((factor) => factor * power >= rough) ?? 10) * power;
  const steps = Math.ceil(top / step - 1e-9);
  return Array.from({ length: steps + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

/** As many digits as the step has, on every tick: $0.05, $0.10. */
export function toTickLabels(ticks: number[]): string[] {
  const step = (ticks[1] ?? 1).toFixed(12).replace(/0+$/, '');
  const digits = step.split('.')[1]?.length ?? 0;
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return ticks.map((tick) => (tick === 0 ? '$0' : `$${tick.toLocaleString('en-US', form)}`));
}

/** A bar whose upper corners are round; its foot stands on the one below. */
function topPath(x: number, y: number, width: number, height: number): string {
  const r = Math.min(3, width / 2, height);
  return `M${round(x)} ${round(y + height)}v${round(r - height)}q0 ${-round(r)} ${round(r)} ${-round(r)}h${round(width - 2 * r)}q${round(r)} 0 ${round(r)} ${round(r)}v${round(height - r)}z`;
}

/** The line that the script shows beside the pointer: title, total, then each model, split at tabs. */
const tip = (column: Column, { series }: StackedDays) =>
  [
    column.title,
    dollars(column.spend),
    ...series.flatMap(({ name, color }, at) =>
      (column.parts[at] ?? 0n) === 0n
        ? []
        : [`${color}${dollars(column.parts[at] ?? 0n)} ${name.replaceAll('\t', ' ')}`],
    ),
  ].join('\t');

/** Columns of a stacked bar chart at one size; a page holds a wide and a narrow one, as its text must not shrink. */
export function renderChart(
  stacked: StackedDays,
  { width, height, labels, kind }: { width: number; height: number; labels: number; kind: string },
): Markup {
  const { columns } = stacked;
  const ticks = toTicks(Math.max(0, ...columns.map(({ spend }) => usdToNumber(spend))));
  const top = ticks.at(-1) ?? 1;
  const names = toTickLabels(ticks);
  const left = 12 + Math.max(...names.map(({ length }) => length)) * 7;
  const [plotWidth, plotHeight] = [width - left - 4, height - 34];
  const y = (amount: number) => 10 + plotHeight * (1 - amount / top);
  const band = plotWidth / Math.max(1, columns.length);
  const bar = Math.max(1, Math.min(34, band * 0.74));
  const every = Math.max(1, Math.ceil(columns.length / labels));

  const drawn = columns.map((column, at) => {
    const x = left + band * at + (band - bar) / 2;
    let below = 0;
    const parts = column.parts.flatMap((part, index) => (part > 0n ? [{ index, amount: usdToNumber(part) }] : []));
    const shapes = parts.map(({ index, amount }, order) => {
      const [from, to] = [y(below), y(below + amount)];
      below += amount;
      const isTop = order === parts.length - 1;
      // A seam of the ground's colour keeps neighbours apart where hues alone do not.
      const seam = order > 0 && from - to > 3 ? 1.5 : 0;
      const color = `s${stacked.series[index]?.color ?? 7}`;
      const size = Math.max(0.5, from - to - seam);
      return isTop
        ? html`<path class="${color}" d="${topPath(x, to, bar, size)}"/>`
        : html`<rect class="${color}" x="${round(x)}" y="${round(to)}" width="${round(bar)}" height="${round(size)}"/>`;
    });
    return html`<g class="col" data-tip="${tip(column, stacked)}"><rect class="hit" x="${round(left + band * at)}" y="10" width="${round(band)}" height="${round(plotHeight)}"/>${shapes}</g>`;
  });

  return html`<svg class="chart ${kind}" viewBox="0 0 ${width} ${height}" aria-hidden="true">
${ticks.map((tick, at) => html`<line class="${tick === 0 ? 'base' : 'grid'}" x1="${left}" x2="${width - 4}" y1="${round(y(tick))}" y2="${round(y(tick))}"/><text x="${left - 8}" y="${round(y(tick) + 4)}" text-anchor="end">${names[at]}</text>`)}
${drawn}
${columns.map(({ label }, at) => at % every === 0 && html`<text x="${round(left + band * (at + 0.5))}" y="${height - 6}" text-anchor="middle">${label}</text>`)}
</svg>`;
}
