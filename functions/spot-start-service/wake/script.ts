/**
 * Looks at the page's own address, which is the visitor's: as long as our marker comes back, what it says is put into the
 * page; as soon as something else answers, the service is there. A 5xx without the marker may be the proxy between two
 * configurations, or the service itself that is not ready yet: it is given some more looks.
 */
export const script = `(() => {
  const main = document.querySelector('main');
  const since = main.querySelector('.since');
  const began = Date.now();
  let odd = 0;
  let timer;
  const part = (root, name) => root.querySelector('[data-part=' + name + ']');
  const isHere = (url) => new URL(url).host === location.host;
  function show(fresh, title) {
    main.dataset.mood = fresh.dataset.mood;
    document.title = title;
    for (const name of ['title', 'text', 'bar', 'rows', 'after', 'hint']) {
      const old = part(main, name);
      const now = part(fresh, name);
      if (old.innerHTML !== now.innerHTML) old.innerHTML = now.innerHTML;
    }
  }
  function tick() {
    const seconds = Math.round((Date.now() - began) / 1000);
    const moving = main.dataset.mood === 'starting' || main.dataset.mood === 'ready';
    since.textContent = !moving || seconds < 3 ? '' : seconds < 60 ? seconds + ' s' : Math.floor(seconds / 60) + ' min ' + (seconds % 60) + ' s';
  }
  function again(ms) {
    clearTimeout(timer);
    timer = setTimeout(look, ms);
  }
  async function look() {
    const mood = main.dataset.mood;
    try {
      const answer = await fetch(location.href, { headers: { 'X-Spot-Start': 'poll' }, cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout(20000) });
      const mark = answer.headers.get('X-Spot-Start');
      if (mark === null) {
        odd += 1;
        if (answer.status < 500 || odd > 5) return location.reload();
      } else if (mark !== 'busy') {
        odd = 0;
        const doc = new DOMParser().parseFromString(await answer.text(), 'text/html');
        const fresh = doc.querySelector('main');
        if (fresh !== null) show(fresh, doc.title);
        const wanted = fresh?.dataset.wanted;
        if (mark === 'ready' && wanted !== undefined && !isHere(wanted)) return location.replace(wanted);
      }
    } catch {}
    again(mood !== 'starting' && mood !== 'ready' ? 10000 : document.hidden || Date.now() - began > 60000 ? 4000 : 1500);
  }
  setInterval(tick, 1000);
  document.addEventListener('visibilitychange', () => document.hidden || again(0));
  again(1500);
})();`;
