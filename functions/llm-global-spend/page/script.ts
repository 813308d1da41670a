/** What a pointer over the chart shows. The same numbers stand in the table below it, for who has no pointer. */
export const script = `(() => {
const box = document.getElementById('tip');
if (!box) return;
const line = (tag, text, color) => {
  const element = document.createElement(tag);
  if (color !== undefined) { const dot = document.createElement('i'); dot.className = 'dot d' + color; element.append(dot); }
  element.append(text);
  return element;
};
const hide = () => { box.hidden = true; for (const on of document.querySelectorAll('.col.on')) on.classList.remove('on'); };
const show = (column, event) => {
  hide();
  column.classList.add('on');
  const [title, total, ...parts] = column.dataset.tip.split('\\t');
  box.replaceChildren(line('b', title), line('strong', total), ...parts.reverse().map((part) => line('span', part.slice(1), part[0])));
  box.hidden = false;
  const frame = box.offsetParent.getBoundingClientRect();
  const at = event.clientX - frame.left;
  const left = at + 16 + box.offsetWidth > frame.width ? at - 16 - box.offsetWidth : at + 16;
  box.style.left = Math.max(0, left) + 'px';
  box.style.top = Math.max(0, event.clientY - frame.top - box.offsetHeight / 2) + 'px';
};
document.querySelector('.charts').addEventListener('pointermove', (event) => {
  const column = event.target.closest('.col');
  if (column) show(column, event); else hide();
});
document.querySelector('.charts').addEventListener('pointerleave', hide);
})();`;
