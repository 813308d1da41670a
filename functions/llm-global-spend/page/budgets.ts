import { html, type Markup } from '#shared/http/html.ts';
import { type BudgetState, isForecastOver, toPercent } from '../budgets/state.ts';
import { dayRange, dollars, exactDollars } from './format.ts';

/** Words and a sign beside the colour, for who cannot tell the colours apart. */
function stateText(state: BudgetState): string {
  const { level, spend, budget } = state;
  if (level === 'unknown' || spend === null) return '? unknown';
  const percent = `${toPercent(spend, budget.limit)} %`;
  return { ok: `✓ ${percent}`, warning: `▲ ${percent}`, over: `✕ ${percent}` }[level];
}

function meter({ budget, spend }: BudgetState): Markup {
  const percent = spend === null ? 0 : Math.min(100, toPercent(spend, budget.limit));
  const ticks = budget.thresholds.filter((threshold) => threshold < 100);
  return html`<svg class="meter" aria-hidden="true"><rect class="track" width="100%" height="10" rx="5"/>${percent > 0 && html`<rect class="fill" width="${percent}%" height="10" rx="5"/>`}${ticks.map((at) => html`<line class="tick" x1="${at}%" x2="${at}%" y1="0" y2="10"/>`)}</svg>`;
}

function outlook(state: BudgetState): string {
  const { spend, forecast, notes } = state;
  if (spend === null) return notes[0]?.message ?? 'It could not be read';
  if (forecast === null) return 'too early for a forecast';
  return `${isForecastOver(state) ? '▲ ' : ''}on course for ${dollars(forecast)}`;
}

const rank = { over: 0, warning: 1, unknown: 2, ok: 3 };
const severity = (left: BudgetState, right: BudgetState) => rank[left.level] - rank[right.level];

export function renderBudgets(states: BudgetState[]): Markup | false {
  if (states.length === 0) return false;
  return html`<section class="card" id="budgets"><div class="head"><h2>Budgets</h2></div>
<ul class="budgets">${states.toSorted(severity).map((state) => {
    const { budget, period, spend, level } = state;
    return html`<li class="${level}"><div class="top"><b>${budget.name}</b><span class="state">${stateText(state)}</span></div>
${meter(state)}
<div class="soft"><span title="${spend === null ? '' : exactDollars(spend)}">${spend === null ? '–' : dollars(spend)}</span> of ${dollars(budget.limit)} per ${budget.period}</div>
<div class="muted">${dayRange(period.startDate, period.endDate)} · ${outlook(state)}</div></li>`;
  })}</ul></section>`;
}
