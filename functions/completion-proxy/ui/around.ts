/** The address says what is shown, so that it can be kept, sent, and gone back to. */
export const around = `
function address(change) {
  const given = params();
  if (!('cursor' in change) && !('call' in change)) given.delete('cursor');
  for (const [name, value] of Object.entries(change)) value ? given.set(name, value) : given.delete(name);
  return '?' + given;
}
function go(href, replace) {
  history[replace ? 'replaceState' : 'pushState'](null, '', href);
  follow();
}
let shown = query() + ' ' + params().get('cursor');
function follow() {
  const what = query() + ' ' + params().get('cursor');
  if (what !== shown) {
    shown = what;
    missed = 0;
    fillForm();
    load();
    connect();
  }
  open();
}
async function open() {
  const id = params().get('call');
  if (!id) return dialog.close();
  if (dialog.open && dialog.dataset.id === id) return;
  // A request id from an answer or a log finds its call as well, the newest where callers use it twice.
  const isIt = (one) => one.serial === id || one.id === id;
  let record = rows.find((row) => isIt(row.record))?.record;
  for (let cursor, pages = 0; keeps && record === undefined && pages < 5; pages += 1) {
    const page = await get(new URLSearchParams({ format: 'json', text: id, limit: 20, ...(cursor ? { cursor } : {}) })).catch(() => ({ records: [], next: null }));
    record = page.records.find(isIt);
    cursor = page.next;
    if (!cursor) break;
  }
  if (params().get('call') !== id) return;
  dialog.dataset.id = id;
  if (record === undefined) {
    dialog.replaceChildren(head('This call is not there', el('p', 'soft', 'It has not ended yet, is no longer kept, or is of another key.')));
  } else fill(record);
  if (!dialog.open) dialog.showModal();
  $('call-title').focus();
  dialog.scrollTop = 0;
}
const toLocal = (iso) => {
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
};
function fillForm() {
  if (!keeps) return;
  const given = params();
  for (const name of ['text', 'model', 'caller', 'status', 'outcome']) {
    if (form[name] && document.activeElement !== form[name]) form[name].value = given.get(name) ?? '';
  }
  const since = given.get('since') ?? '', until = given.get('until') ?? '';
  const isListed = until === '' && [...form.time.options].some(({ value }) => value === since) && !(since === '' && form.time.value === 'between');
  form.time.value = isListed ? since : 'between';
  $('between').hidden = isListed;
  for (const [field, value] of [[form.from, since], [form.to, until]]) field.value = !isListed && !Number.isNaN(Date.parse(value)) ? toLocal(value) : '';
}
function readForm() {
  if (!form.checkValidity()) return;
  const isBetween = form.time.value === 'between';
  $('between').hidden = !isBetween;
  const at = (field) => (isBetween && field.value ? new Date(field.value).toISOString() : '');
  go(address({
    text: form.text.value.trim(), model: form.model.value.trim(), caller: form.caller?.value.trim(), status: form.status.value, outcome: form.outcome.value,
    since: isBetween ? at(form.from) : form.time.value, until: at(form.to),
  }), true);
}
document.addEventListener('click', (event) => {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const target = event.target.closest('a[data-go]') ?? event.target.closest('#rows tr')?.querySelector('a.open');
  if (!target || getSelection().type === 'Range') return;
  event.preventDefault();
  if (target.id === 'clear') form.reset();
  if (target.id === 'older' && isTrimmed) return older();
  go(target.getAttribute('href'));
});
async function older() {
  const page = await get(query({ limit: rows.length })).catch(() => ({ next }));
  if (page.next) go(address({ cursor: page.next }));
}
dialog.addEventListener('close', () => {
  if (params().get('call')) go(address({ call: '' }));
});
dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
addEventListener('popstate', follow);
document.addEventListener('visibilitychange', connect);
addEventListener('online', connect);
addEventListener('keydown', (event) => {
  if (event.key !== '/' || !keeps || dialog.open || event.target.closest('input,select,textarea')) return;
  event.preventDefault();
  form.text.focus();
});
if (keeps) {
  let typing;
  form.addEventListener('submit', (event) => { event.preventDefault(); readForm(); });
  form.addEventListener('change', readForm);
  form.text.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(readForm, 300); });
  $('more').onclick = () => $('more').setAttribute('aria-expanded', String(form.classList.toggle('open')));
}
setInterval(() => {
  if (running.length > 0) tick();
  if (!document.hidden && source?.readyState === 1 && Date.now() - heard > 30000) cut();
}, 200);
fillForm();
showRunning();
load();
connect();
open();
`;
