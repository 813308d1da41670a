import type { FunctionResponse } from '#shared/http/function.ts';
import { html, type Markup, page } from '#shared/http/html.ts';
import { script } from './script.ts';
import { style } from './style.ts';
import type { Mood, View } from './words.ts';

/** Tells our page from the service behind the same address: no answer of the service's carries it. */
export const markerHeader = 'X-Spot-Start';

const statuses: Record<Mood, number> = { asleep: 503, starting: 503, ready: 503, failed: 503, unknown: 404, busy: 429 };

const picture = html`<svg viewBox="0 0 96 96" width="96" height="96" aria-hidden="true">
<circle class="sky" cx="48" cy="48" r="44"/>
<g class="stars"><circle cx="68" cy="28" r="1.6"/><circle cx="76" cy="44" r="1.2"/><circle cx="60" cy="18" r="1.1"/></g>
<path class="moon" d="M58 66A26 26 0 1 1 46 22a21 21 0 0 0 12 44Z"/>
<g class="sun"><circle cx="48" cy="48" r="15"/><path d="M48 20v7M48 69v7M20 48h7M69 48h7M28.2 28.2l5 5M62.8 62.8l5 5M28.2 67.8l5-5M62.8 33.2l5-5"/></g>
<path class="mark" d="M48 30v22M48 65v.5"/>
<circle class="ring" cx="48" cy="48" r="44"/>
</svg>`;

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath fill='%237a6ff0' d='M20 26A12 12 0 1 1 14 5a10 10 0 0 0 6 21Z'/%3E%3C/svg%3E";

function progress({ mood, rows }: View): Markup | false {
  if (mood !== 'starting') return false;
  const done = rows.filter(({ tone }) => tone === 'good').length;
  const label = html`aria-label="Progress"`;
  return rows.length === 0 || done === 0
    ? html`<progress ${label}></progress>`
    : html`<progress ${label} max="${rows.length}" value="${done}"></progress>`;
}

function after({ mood }: View, wanted: string | undefined): Markup | false {
  if (mood === 'failed' || mood === 'busy') return html`<p class="do"><a class="button" href="">Try again</a></p>`;
  if (mood === 'asleep') return html`<p class="do"><a class="button" href="">Wake it</a></p>`;
  return (
    mood === 'ready' && wanted !== undefined && html`<p class="do"><a class="button" href="${wanted}">Open it</a></p>`
  );
}

export interface PageOptions {
  view: View;
  /** Where to go at last; only of a host that the index knows. */
  wanted?: string | undefined;
  /** For the operator's log, shown where something went wrong. */
  callId: string;
  retryAfterS?: number;
}

/** The page, with what it says in its marker: `starting`, `ready`, `failed`, `asleep`, `unknown` or `busy`. */
export function renderPage({ view, wanted, callId, retryAfterS = 5 }: PageOptions): FunctionResponse {
  const { mood, title, text, hint, rows } = view;
  const looksAgain = mood === 'starting' || mood === 'ready';
  const wrong = mood === 'failed' || mood === 'unknown';
  const body = html`<main data-mood="${mood}"${wanted === undefined ? '' : html` data-wanted="${wanted}"`}>
<div class="picture">${picture}</div>
<h1 data-part="title">${title}</h1>
<p class="text" role="status" data-part="text">${text}</p>
<div class="bar" data-part="bar">${progress(view)}</div>
<ul class="rows" data-part="rows" aria-label="Containers">${rows.map((row) => html`<li class="${row.tone}"><span>${row.name}</span><b>${row.word}</b></li>`)}</ul>
<div data-part="after">${after(view, wanted)}</div>
<p class="hint" data-part="hint">${hint}${wrong && html`<span class="id">Call ${callId}</span>`}</p>
<p class="since" aria-hidden="true"></p>
</main>`;
  return page(
    statuses[mood],
    {
      title,
      style,
      ...(looksAgain || mood === 'failed' || mood === 'asleep' ? { script } : {}),
      head: html`<meta name="robots" content="noindex"><link rel="icon" href="${icon}">
${looksAgain && html`<noscript><meta http-equiv="refresh" content="5"></noscript>`}`,
      body,
    },
    {
      [markerHeader]: mood,
      'Retry-After': String(retryAfterS),
      'X-Robots-Tag': 'noindex, nofollow',
    },
  );
}
