/** What the page says of one call: numbers, times, and a sentence for how it ended. No markup: text alone. */
export const words = String.raw`
const none = '–';
const count = (n) => (n === null || n === undefined ? none : n.toLocaleString('en-US'));
function ms(v) {
  if (v === null || v === undefined) return none;
  if (v < 1000) return Math.round(v) + ' ms';
  if (v < 60000) return (v / 1000).toFixed(v < 10000 ? 2 : 1) + ' s';
  return Math.floor(v / 60000) + ' min ' + Math.floor((v % 60000) / 1000) + ' s';
}
function bytes(n) {
  if (n < 1000) return n + ' B';
  return n < 1e6 ? (n / 1e3).toFixed(1) + ' kB' : (n / 1e6).toFixed(1) + ' MB';
}
const pico = (text) => {
  const [whole, part = ''] = text.split('.');
  return BigInt(whole + part.padEnd(12, '0').slice(0, 12));
};
function usd(text) {
  if (text === null) return none;
  const [whole, part = ''] = text.split('.');
  if (whole !== '0' || part === '') return '$' + whole + '.' + part.padEnd(2, '0').slice(0, 2);
  const first = part.search(/[1-9]/);
  return first < 0 ? '$0' : '$0.' + part.slice(0, Math.max(2, first + 3)).replace(/(\d{2}\d*?)0+$/, '$1').padEnd(2, '0');
}
const usdOfPico = (sum) => usd(sum / 1000000000000n + '.' + String(sum % 1000000000000n).padStart(12, '0'));
function when(iso) {
  const at = new Date(iso);
  const clock = at.toLocaleTimeString('en-GB');
  if (at.toDateString() === new Date().toDateString()) return clock;
  return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }) + ' ' + clock;
}
const toneOf = ({ outcome, status }) => (outcome === 'client_abort' ? 'warn' : outcome === 'ok' && status < 400 ? 'good' : 'bad');
const markOf = { good: '✓', warn: '↩', bad: '✕' };
function endOf({ outcome, status }) {
  if (outcome === 'ok') return status < 400 ? 'answered' : 'error passed on';
  return { client_abort: 'caller left', upstream_error: 'backend failed', timeout: 'too slow', refused: 'refused' }[outcome] ?? outcome;
}
function sentenceOf(record) {
  const { outcome, status, first_byte_ms: first, duration_ms: whole, backend } = record;
  const middle = first === null ? 'before its first byte' : 'in the middle of its answer';
  if (outcome === 'ok' && status < 400) return 'The whole answer reached the caller.';
  if (outcome === 'ok') return 'The backend answered with the error ' + status + ', which the caller got.';
  if (outcome === 'client_abort') return 'The caller left after ' + ms(whole) + ', ' + (first === null ? 'before the first byte.' : 'in the middle of the answer.');
  if (outcome === 'timeout') return 'The backend was too slow, ' + middle + '.';
  if (outcome === 'refused') return record.attempts === 0 ? 'It was refused here, and reached no backend.' : 'It was refused here.';
  if (status >= 400 && first !== null) return 'The backend answered with the error ' + status + '.';
  return 'The backend' + (backend === '' ? '' : ' ' + backend) + ' failed ' + middle + '.';
}
// The last attempt is among the failed ones where nothing came of the call.
const failedBefore = ({ attempts, failed_attempts: failed }) => Math.min(failed.length, Math.max(0, attempts - 1));
function middleOf(values, share) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
function el(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return node;
}
const wide = (node, share) => {
  node.style.width = (100 * share).toFixed(2) + '%';
  return node;
};
function link(text, href, name) {
  const node = el('a', name, text);
  node.href = href;
  node.dataset.go = '';
  return node;
}
`;
