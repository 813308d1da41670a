/**
 * What was said, out of the bodies of every dialect; '' where they are cut, packed or of another kind. Of a stream, the
 * words alone are kept, and stand as they are.
 */
export const content = String.raw`
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
function textOf(value) {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return '';
  return value.map((part) => (typeof part === 'string' ? part : typeof part?.text === 'string' ? part.text : part?.type ? '[' + part.type + ']' : '')).join('');
}
function answerText(raw) {
  const value = parsed(raw);
  if (!value) return '';
  const choice = value.choices?.[0];
  const message = choice?.message ?? value.message;
  const calls = (Array.isArray(message?.tool_calls) ? message.tool_calls : []).map((call) => (call?.function?.name ? '[calls ' + call.function.name + ']' : '')).join('');
  if (choice || message) return textOf(message?.content ?? choice?.text) + calls;
  if (Array.isArray(value.output)) return value.output.map((item) => textOf(item?.content)).join('');
  return textOf(value.response ?? value.content);
}
function promptText(raw) {
  const value = parsed(raw);
  if (!value) return '';
  const turns = value.messages ?? (Array.isArray(value.input) && value.input.some((turn) => turn?.role) ? value.input : []);
  const system = textOf(value.system ?? value.instructions);
  const said = [...(system ? [{ role: 'system', content: system }] : []), ...(Array.isArray(turns) ? turns : [])];
  if (said.length === 0) return textOf(value.prompt ?? value.input);
  return said.map((turn) => turn?.role + ': ' + textOf(turn?.content)).join('\n\n');
}
function bodyOf(label, raw, text) {
  const section = el('section', '', el('h3', '', label), el('pre', '', text || raw || none));
  if (text) section.append(el('details', '', el('summary', '', 'as it was sent'), el('pre', '', raw)));
  return section;
}
function contentOf(record) {
  if (record.prompt === undefined) {
    return [el('section', '', el('h3', '', 'Prompt and answer'), el('p', 'soft', main.dataset.content === 'true' ? 'They were not kept for this call.' : 'They are not kept: HISTORY_CONTENT is none.'))];
  }
  return [bodyOf('Prompt', record.prompt, promptText(record.prompt)), bodyOf('Answer', record.completion, record.stream ? '' : answerText(record.completion))];
}
`;
