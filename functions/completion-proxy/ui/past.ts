/** History: a page of records, filters that live in the address, and new records on top of the newest page. */
export const past = String.raw`
const pageSize = 50, maxRows = 200;
let rows = [], next = null, isTrimmed = false, asking, arrived = [], missed = 0;
const params = () => new URLSearchParams(location.search);
const keyOf = (record) => record.serial;
const filterNames = ['text', 'model', 'caller', 'status', 'outcome', 'since', 'until'];
function query(more) {
  const given = params();
  const asked = new URLSearchParams({ format: 'json', ...more });
  for (const name of filterNames) if (given.get(name)) asked.set(name, given.get(name));
  return asked;
}
const isNewest = () => !params().get('cursor');
function rowOf(record) {
  const tone = toneOf(record);
  const { input, output } = record.tokens;
  const before = failedBefore(record);
  const opener = link(when(record.started_at), address({ call: record.serial }), 'open');
  opener.title = record.started_at;
  const bar = el('span', 'bar', el('i', 'wait'), el('i', 'flow'));
  const row = el('tr', '',
    el('td', 'when', opener),
    el('td', 'end', el('b', tone, markOf[tone] + ' ' + endOf(record)), ' ', el('small', '', record.status)),
    el('td', 'model', record.model || record.requested_model || record.path, record.requested_model && record.requested_model !== record.model ? el('small', '', 'asked for ' + record.requested_model) : null),
    admin ? el('td', 'caller', record.caller) : null,
    el('td', 'backend', record.backend || none, before > 0 ? el('small', 'bad', before + ' failed before') : null),
    el('td', 'time', bar, el('span', '', ms(record.first_byte_ms) + ' · ' + ms(record.duration_ms))),
    el('td', 'n tokens', record.usage_source === 'absent' ? none : count(input ?? 0) + ' → ' + count(output ?? 0)),
    el('td', 'n cost', usd(record.cost_usd)));
  row.record = record;
  return row;
}
function show() {
  const records = rows.map(({ record }) => record);
  const scale = Math.max(1, middleOf(records.map((record) => record.duration_ms), 0.9) ?? 1);
  for (const row of rows) {
    const { record } = row;
    const [wait, flow] = row.querySelector('.bar').children;
    const size = Math.min(1, record.duration_ms / scale);
    const share = record.first_byte_ms === null ? 1 : Math.min(1, record.first_byte_ms / Math.max(1, record.duration_ms));
    wide(wait, size * share);
    wide(flow, size * (1 - share));
  }
  const bad = records.filter((record) => toneOf(record) === 'bad').length;
  const first = records.map((record) => record.first_byte_ms);
  const cost = records.reduce((sum, record) => sum + (record.cost_usd === null ? 0n : pico(record.cost_usd)), 0n);
  $('sum').textContent = records.length === 0 ? '' : 'of these ' + count(records.length) + ': ' + count(bad) + ' failed · first byte ' + ms(middleOf(first, 0.5)) + ' (median), ' + ms(middleOf(first, 0.95)) + ' (95 %)' + (cost > 0n ? ' · ' + usdOfPico(cost) : '');
  for (const name of admin ? ['model', 'caller'] : ['model']) {
    const seen = [...new Set(records.map((record) => record[name]))].slice(0, 100);
    $(name + 's').replaceChildren(...seen.map((value) => { const option = el('option'); option.value = value; return option; }));
  }
  const isFiltered = filterNames.some((name) => params().get(name));
  $('clear').hidden = !isFiltered;
  $('newest').hidden = isNewest();
  $('newest').textContent = missed > 0 ? 'Newest (' + count(missed) + ' more since)' : 'Newest';
  $('older').hidden = next === null && !isTrimmed;
  if (next !== null) $('older').href = address({ cursor: next });
  $('empty').hidden = rows.length > 0 || asking !== undefined;
  if (rows.length > 0 || asking !== undefined) return;
  if (isFiltered) return $('empty').replaceChildren(el('p', '', next === null ? 'No call matches.' : 'No call matches so far back.'), next === null ? null : el('p', '', 'Older goes on from there.'));
  const example = 'curl ' + base.replace(/_proxy\/$/, '') + 'v1/chat/completions \\\n  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d \'{"model": "…", "messages": [{"role": "user", "content": "Hello"}]}\'';
  $('empty').replaceChildren(el('p', '', 'No call yet. Make one, and it shows up here as it ends:'), el('pre', '', example));
}
function arrive(record) {
  const left = running.filter((call) => call.id !== record.id);
  flying -= running.length - left.length;
  running = left;
  showRunning();
  if (!isNewest()) { missed += 1; return show(); }
  if (asking !== undefined) arrived.push(record);
  if (rows.some((row) => keyOf(row.record) === keyOf(record))) return;
  const row = rowOf(record);
  row.classList.add('new');
  $('rows').prepend(row);
  rows.unshift(row);
  while (rows.length > maxRows) { rows.pop().remove(); isTrimmed = true; }
  show();
}
async function get(asked, signal) {
  const answer = await fetch(base + 'history?' + asked, { signal, headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? 'status ' + answer.status);
  return answer.json();
}
async function load() {
  if (!keeps) return;
  asking?.abort();
  const mine = asking = new AbortController();
  arrived = [];
  try {
    const cursor = params().get('cursor');
    const page = await get(query({ limit: pageSize, ...(cursor ? { cursor } : {}) }), mine.signal);
    if (mine !== asking) return;
    asking = undefined;
    const keys = new Set(page.records.map(keyOf));
    rows = [...arrived.reverse().filter((record) => !keys.has(keyOf(record))), ...page.records].map(rowOf);
    $('rows').replaceChildren(...rows);
    next = page.next;
    isTrimmed = false;
    $('problem').hidden = true;
    show();
  } catch (error) {
    if (mine !== asking || mine.signal.aborted) return;
    asking = undefined;
    $('problem').textContent = 'History could not be read: ' + error.message;
    $('problem').hidden = false;
  }
}
`;
