/** One call in its dialog: how it ended, its time as a bar, what it used, failed attempts, prompt and answer. */
export const detail = `
function fact(label, value, more) {
  return value === '' || value === null ? null : el('div', '', el('dt', '', label), el('dd', '', value, more ? el('small', '', more) : null));
}
function timing(record) {
  const { first_byte_ms: first, duration_ms: whole, chunks, tokens } = record;
  const bar = el('div', 'timing');
  const total = Math.max(whole, 1);
  const waited = Math.min(first ?? whole, total);
  bar.append(wide(el('i', 'wait'), waited / total), wide(el('i', first === null ? '' : 'flow'), 1 - waited / total));
  const flowing = first === null ? 0 : whole - first;
  const facts = el('dl', 'facts',
    fact('to the first byte', ms(first)),
    fact('from then to the end', first === null ? none : ms(flowing)),
    fact('in all', ms(whole)),
    fact('chunks', count(chunks), chunks > 1 && flowing > 0 ? 'one in ' + ms(flowing / (chunks - 1)) : ''),
    fact('size', bytes(record.answer_bytes)),
    fact('speed', record.stream && flowing > 50 && tokens.output > 0 ? (tokens.output * 1000 / flowing).toFixed(1) + ' tokens/s' : ''));
  return el('section', '', el('h3', '', 'Time'), bar,
    el('p', 'legend', el('i', 'wait'), 'waiting for the first byte', el('i', 'flow'), record.stream ? 'streaming' : 'answering'), facts);
}
function usage(record) {
  const names = { input: 'input', output: 'output', cached_input: 'read from cache', cache_creation: 'written to cache', reasoning: 'reasoning', audio_input: 'audio in', audio_output: 'audio out', image_input: 'images in' };
  const tokens = Object.entries(record.tokens).map(([type, n]) => fact(names[type] ?? type, count(n)));
  const why = record.cost_usd === null ? 'no price is known' : '';
  const facts = el('dl', 'facts', ...tokens, record.usage_source === 'absent' ? null : fact('cost', record.cost_usd === null ? none : '$' + record.cost_usd, why), fact('billed by', record.billed_by));
  return el('section', '', el('h3', '', 'Tokens and cost'), record.usage_source === 'absent' ? el('p', 'soft', 'The backend told no usage of this call: that is not zero.') : null, facts);
}
function attemptsOf(record) {
  if (record.attempts === 0) return null;
  const before = failedBefore(record);
  const word = ({ failure, status }) => failure === 'status' ? 'status ' + status : { network: 'the connection failed', timeout: 'no answer in time', invalid_response: 'what came was no answer', aborted: 'broken off' }[failure] ?? failure;
  const last = record.failed_attempts[before];
  const list = el('ol', 'attempts', ...record.failed_attempts.slice(0, before).map((failed) =>
    el('li', 'bad', el('b', '', failed.backend), ' ', word(failed))),
    el('li', toneOf(record), el('b', '', record.backend), ' ', record.outcome === 'client_abort' ? 'cancelled, since the caller had left' : last ? word(last) : endOf(record) + ', ' + record.status));
  return el('section', '', el('h3', '', record.attempts === 1 ? 'One attempt' : record.attempts + ' attempts'), list, before > 0 ? el('p', 'soft', 'Failed attempts are not billed.') : null);
}
function head(text, more) {
  const close = el('button', 'close', '✕');
  close.setAttribute('aria-label', 'Close');
  close.onclick = () => dialog.close();
  const title = el('h2', '', text);
  title.id = 'call-title';
  title.tabIndex = -1;
  return el('div', 'top', el('div', '', title, more), close);
}
function fill(record) {
  const tone = toneOf(record);
  const only = (name, value) => (value ? link(value, '?' + new URLSearchParams({ [name]: value })) : '');
  const raw = el('details', '', el('summary', '', 'The record as JSON'), el('pre', '', JSON.stringify(record, null, 2)));
  dialog.replaceChildren(
    head(record.model || record.requested_model || record.path, el('p', 'how ' + tone, el('b', '', markOf[tone] + ' ' + endOf(record) + ' · ' + record.status), ' ', sentenceOf(record))),
    timing(record), usage(record), attemptsOf(record),
    el('section', '', el('h3', '', 'Call'), el('dl', 'facts wide',
      fact('began', new Date(record.started_at).toLocaleString('en-GB'), record.started_at),
      fact('caller', only('caller', record.caller)),
      fact('end user', record.end_user),
      fact('model', only('model', record.model)),
      fact('asked for', record.requested_model !== record.model ? only('model', record.requested_model) : ''),
      fact('backend', record.backend, record.provider),
      fact('request', record.method + ' ' + record.path, record.stream ? 'stream' : ''),
      fact('finish reason', record.finish_reason),
      fact('call id', el('code', '', record.id)),
      fact('upstream id', record.upstream_id === null ? '' : el('code', '', record.upstream_id)),
      fact('trace id', record.trace_id ? el('code', '', record.trace_id) : ''),
      fact('LiteLLM call id', record.litellm_call_id === null ? '' : el('code', '', record.litellm_call_id)))),
    ...contentOf(record), raw);
}
`;
