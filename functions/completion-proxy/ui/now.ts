/** Calls under way, backends, and whether what is shown is live. */
export const now = `
let skew = 0, flying = 0;
let running = [];
function stateOf(call) {
  if (call.first_byte_ms !== null) return (call.stream ? 'streaming' : 'answering') + ', ' + count(call.chunks) + (call.chunks === 1 ? ' chunk, ' : ' chunks, ') + bytes(call.answer_bytes);
  if (call.attempts === 0) return 'waiting for a place';
  return call.attempts === call.failed_attempts ? 'tries again' : 'waiting for the first byte';
}
function showRunning() {
  $('flying').textContent = flying === 0 ? '' : count(flying);
  $('running').replaceChildren(...(running.length === 0 ? [el('li', 'nothing', 'No call is under way.')] : running.map((call) => {
    const item = el('li', call.first_byte_ms === null ? 'asked' : 'flows',
      el('span', 'model', call.model || call.path, admin ? el('small', '', call.caller) : null),
      el('span', 'state', (call.backend === null ? '' : call.backend + ' · ') + stateOf(call) + (call.failed_attempts > 0 ? ' · failed attempts: ' + call.failed_attempts : '')),
      el('span', 'since', ''));
    item.dataset.since = call.started_at;
    return item;
  })));
  if (flying > running.length) $('running').append(el('li', 'nothing', 'and ' + count(flying - running.length) + ' more'));
  tick();
}
function tick() {
  for (const item of $('running').children) {
    if (!item.dataset.since) continue;
    const passed = Math.max(0, Date.now() + skew - Date.parse(item.dataset.since));
    item.lastChild.textContent = passed < 60000 ? (passed / 1000).toFixed(1) + ' s' : ms(passed);
  }
}
function backendState({ healthy, breaker, open_until: until }) {
  if (!healthy) return ['bad', 'fails its health check'];
  if (breaker === 'closed') return until === null ? ['good', 'takes calls'] : ['warn', 'asked for a pause, until ' + when(until)];
  return breaker === 'half_open' ? ['warn', 'breaker half open: the next call probes it'] : ['bad', 'breaker open' + (until === null ? '' : ', a probe at ' + when(until))];
}
function showBackends(backends) {
  $('backends').replaceChildren(...(backends.length === 0 ? [el('li', 'nothing', 'No backend is set up: BACKEND_URL names one, BACKENDS several.')] : backends.map((backend) => {
    const [tone, word] = backendState(backend);
    const { in_flight: busy, places, waiting } = backend;
    const load = busy === undefined ? '' : busy + (places === null ? '' : ' of ' + places) + ' in flight' + (waiting > 0 ? ', ' + waiting + ' in its queue' : '');
    return el('li', tone, el('span', 'name', backend.name, el('small', '', backend.kind)), el('span', 'state', word), el('span', 'load', load));
  })));
}
function showNow(now) {
  skew = Date.parse(now.time) - Date.now();
  running = now.running;
  flying = now.calls;
  showRunning();
  showBackends(now.backends);
}
function setLive(state) {
  const texts = { on: 'live', cut: 'live updates are cut: connecting again …', rest: 'resting while nobody looks', off: 'connecting …' };
  $('live').className = state;
  $('live').lastChild.textContent = texts[state];
  document.body.classList.toggle('stale', state === 'cut');
}
let source, again, heard = 0, pause = 1000;
function connect() {
  clearTimeout(again);
  source?.close();
  if (document.hidden) return setLive('rest');
  const here = source = new EventSource(base + 'ui/live?' + query());
  heard = Date.now();
  here.onopen = () => { pause = 1000; heard = Date.now(); setLive('on'); load(); };
  here.onmessage = (event) => { heard = Date.now(); arrive(JSON.parse(event.data)); };
  here.addEventListener('now', (event) => { heard = Date.now(); showNow(JSON.parse(event.data)); });
  here.onerror = cut;
}
function cut() {
  source?.close();
  setLive('cut');
  clearTimeout(again);
  again = setTimeout(connect, pause);
  pause = Math.min(pause * 2, 15000);
}
`;
