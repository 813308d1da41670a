import type { FunctionResponse } from '#shared/http/function.ts';
import { html, type Markup, page } from '#shared/http/html.ts';
import { script } from './script.ts';
import { style } from './style.ts';

export interface UiOptions {
  /** Whose key it is; undefined where none is asked for. */
  caller: string | undefined;
  isAdmin: boolean;
  hasHistory: boolean;
  keepsContent: boolean;
}

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%232a78d6' stroke-width='3.5' stroke-linecap='round'%3E%3Cpath d='M3 16h6l4-10 6 20 4-10h6'/%3E%3C/svg%3E";

const outcomes: [value: string, label: string][] = [
  ['', 'however it ended'],
  ['ok', 'answered'],
  ['client_abort', 'caller left'],
  ['upstream_error', 'backend failed'],
  ['timeout', 'too slow'],
  ['refused', 'refused'],
];
const times: [value: string, label: string][] = [
  ['', 'at any time'],
  ['15m', 'last 15 minutes'],
  ['1h', 'last hour'],
  ['24h', 'last 24 hours'],
  ['7d', 'last 7 days'],
  ['30d', 'last 30 days'],
  ['between', 'between …'],
];

const select = (name: string, label: string, options: [value: string, label: string][]) =>
  html`<select name="${name}" aria-label="${label}">${options.map(([value, text]) => html`<option value="${value}">${text}</option>`)}</select>`;

function filters(isAdmin: boolean): Markup {
  const field = (name: string, placeholder: string) =>
    html`<input name="${name}" list="${name}s" placeholder="${placeholder}" aria-label="${placeholder}" autocomplete="off" spellcheck="false"><datalist id="${name}s"></datalist>`;
  return html`<form id="filters" role="search">
<input type="search" name="text" placeholder="Search in calls" aria-label="Search in calls" autocomplete="off" spellcheck="false">
<button type="button" id="more" aria-expanded="false" aria-controls="fields">Filters</button>
<div id="fields">
${field('model', 'model')}
${isAdmin && field('caller', 'caller')}
<input name="status" inputmode="numeric" maxlength="3" pattern="[1-5][0-9]{2}" placeholder="status" aria-label="status" autocomplete="off">
${select('outcome', 'How it ended', outcomes)}
${select('time', 'When', times)}
<span id="between" hidden><input type="datetime-local" name="from" aria-label="from"> – <input type="datetime-local" name="to" aria-label="to"></span>
<a href="?" id="clear" data-go hidden>Clear</a>
</div>
</form>`;
}

/** The page: a frame of ours and no word of any call's; the script fills it with what the routes beside it tell. */
export function renderUi({ caller, isAdmin, hasHistory, keepsContent }: UiOptions): FunctionResponse {
  const body = html`<main data-admin="${String(isAdmin)}" data-history="${String(hasHistory)}" data-content="${String(keepsContent)}">
<header>
<h1>Calls <small>completion-proxy</small></h1>
<p id="who">${caller !== undefined && html`key <b>${caller}</b> · `}${isAdmin ? "everybody's calls" : 'its own calls'}</p>
<p id="live" role="status"><i></i><span>connecting …</span></p>
</header>
<noscript><p class="note bad">This page lives by its script. Without one, ask <code>GET history?format=json</code>.</p></noscript>
<div id="top">
<section id="flight"><h2>Under way <b id="flying"></b></h2><ul id="running"></ul></section>
<section id="health"><h2>Backends</h2><ul id="backends"></ul></section>
</div>
<section id="past">
<div class="head"><h2>History</h2><p id="sum"></p></div>
${
  hasHistory
    ? html`${filters(isAdmin)}
<p id="problem" class="note bad" role="alert" hidden></p>
<table><thead><tr><th>Time<th>How it ended<th>Model${isAdmin && html`<th>Caller`}<th>Backend<th>First byte, and whole<th class="n">Tokens<th class="n">Cost</tr></thead><tbody id="rows"></tbody></table>
<div id="empty" class="note" hidden></div>
<nav aria-label="Pages"><a href="?" id="newest" data-go hidden>Newest</a><span></span><a href="?" id="older" data-go hidden>Older</a></nav>`
    : html`<p class="note" id="off">History is off: <code>HISTORY_DAYS</code> is 0, and no call is kept once it has ended. Calls under way are shown above.</p>`
}
</section>
<p id="foot">Times are of your browser. What is under way, and new calls as they end, are those of the replica that answers this page${hasHistory && '; with the secret store-url, history is of all'}.</p>
</main>
<dialog id="call" aria-labelledby="call-title"></dialog>`;
  return page(200, {
    title: 'Calls · completion-proxy',
    style,
    script,
    head: html`<meta name="robots" content="noindex"><link rel="icon" href="${icon}">`,
    body,
  });
}
