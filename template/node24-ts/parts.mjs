/**
 * One file of many parts: its first line lists them as a comment, `// {"name": [start, length]}`, counted from the end of
 * that line. `before` stands in front of each part, `after` behind it, and both outside of what is listed.
 */
export function toParts(parts, { begin = '', before = () => '', after = '', end = '' } = {}) {
  const pieces = [Buffer.from(begin)];
  const list = {};
  let length = pieces[0].length;
  for (const [name, content] of parts) {
    const part = Buffer.from(content);
    const opening = Buffer.from(before(name));
    const closing = Buffer.from(after);
    list[name] = [length + opening.length, part.length];
    pieces.push(opening, part, closing);
    length += opening.length + part.length + closing.length;
  }
  return Buffer.concat([Buffer.from(`// ${JSON.stringify(list)}\n`), ...pieces, Buffer.from(end)]);
}
