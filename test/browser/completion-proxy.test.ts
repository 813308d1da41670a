import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CallRecord } from '../../functions/completion-proxy/records/record.ts';
import { openBrowser } from '../support/browser.ts';
import { startProxyPage } from '../support/proxy-page.ts';

const folder = join(import.meta.dirname, '../../.cache/screenshots/completion-proxy');
const desk = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

let proxy: Awaited<ReturnType<typeof startProxyPage>>;
const browsers: { context: BrowserContext; close(): Promise<void> }[] = [];
const complaints: string[] = [];
const seen: string[] = [];

/** The page, opened with a key as a person does: the browser asks, and remembers. */
async function open(
  key: string,
  search = '',
  options: Parameters<typeof openBrowser>[0] = {},
  base = proxy.gateway.url,
) {
  const browser = await openBrowser({ ...desk, ...options, httpCredentials: { username: 'me', password: key } });
  browsers.push(browser);
  const page = await browser.context.newPage();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (one) => seen.push(one.url()));
  await page.goto(`${base}/_proxy/ui${search}`);
  return page;
}
const isLive = (page: Page) => page.waitForSelector('#live.on');
const rows = (page: Page) => page.locator('#rows tr');
const factOf = (page: Page, name: string) =>
  page
    .locator('dialog dl div')
    .filter({ has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) })
    .locator('dd')
    .first();
const across = (page: Page) => page.evaluate('document.documentElement.scrollWidth - innerWidth');
const streamed = { stream: true, stream_options: { include_usage: true } };

/** The newest record that has these words, as `/history` tells it. */
async function find(text: string): Promise<CallRecord> {
  const answer = await fetch(`${proxy.url}/history?format=json&text=${text}`, { headers: { 'X-Api-Key': 'ops-key' } });
  return ((await answer.json()) as { records: CallRecord[] }).records[0]!;
}

beforeAll(() => mkdirSync(folder, { recursive: true }));
beforeEach(() => {
  complaints.length = 0;
  seen.length = 0;
});
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

describe('calls of every kind', () => {
  beforeAll(async () => {
    proxy = await startProxyPage();
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed, user: 'customer-812' });
    await proxy.call('bob-key', { model: 'gpt-4o', ...streamed });
    proxy.ollama.faults.push({ kind: 'status', status: 503, times: 2 });
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed });
    await proxy.call('ada-key', { model: 'lab-cut', stream: true });
    await proxy.call('bob-key', { model: 'nobody-serves-this' });
    (await proxy.hold('bob-key', { model: 'lab-stall' })).leave();
  });
  afterAll(() => proxy.close());

  test('stand in history as they ended, under a prefix and with nothing asked of anybody else', async () => {
    const page = await open('ops-key');
    await isLive(page);
    await rows(page).nth(5).waitFor();
    const ends = await page.locator('td.end').allTextContents();
    expect(ends.toSorted()).toEqual([
      '↩ caller left 200',
      '✓ answered 200',
      '✓ answered 200',
      '✓ answered 200',
      '✕ backend failed 200',
      '✕ refused 404',
    ]);
    expect(await page.textContent('#sum')).toMatch(
      /^of these 6: 2 failed · first byte \d.* \(median\), .* \(95 %\) · \$0\.00/,
    );
    expect(await page.textContent('#who')).toBe("key ops · everybody's calls");
    expect(new Set(seen.map((url) => new URL(url).origin))).toEqual(new Set([new URL(proxy.gateway.url).origin]));
    expect(seen.every((url) => new URL(url).pathname.startsWith('/function/completion-proxy/_proxy/'))).toBe(true);
    expect(complaints).toEqual([]);
  });

  test('also on a domain of their own', async () => {
    const page = await open('ops-key', '', {}, proxy.url);
    await isLive(page);
    await rows(page).nth(5).waitFor();
    expect(complaints).toEqual([]);
  });

  test('are found by words, model, caller, outcome, status and time, and the address keeps what is asked', async () => {
    const page = await open('ops-key');
    await rows(page).nth(5).waitFor();
    const shows = async (count: number) => expect.poll(() => rows(page).count()).toBe(count);
    await page.fill('[name=text]', 'customer-812');
    await shows(1);
    expect(new URL(page.url()).search).toBe('?text=customer-812');
    await page.click('#clear');
    await shows(6);
    await page.fill('[name=model]', 'llama3.2');
    await page.press('[name=model]', 'Enter');
    await shows(2);
    await page.fill('[name=caller]', 'bob');
    await page.press('[name=caller]', 'Enter');
    await page.waitForSelector('#empty:has-text("No call matches.")');
    await page.click('#clear');
    await page.fill('[name=status]', '404');
    await page.press('[name=status]', 'Enter');
    await shows(1);
    await page.click('#clear');
    await page.selectOption('[name=outcome]', 'upstream_error');
    await shows(1);
    await page.reload();
    await shows(1);
    expect(await page.inputValue('[name=outcome]')).toBe('upstream_error');
    await page.click('#clear');
    await page.selectOption('[name=time]', '15m');
    await shows(6);
    await page.selectOption('[name=time]', 'between');
    await page.fill('[name=to]', '2020-01-01T00:00');
    await page.waitForSelector('#empty:has-text("No call matches.")');
    expect(complaints).toEqual([]);
  });

  test('are told one by one: time, tokens, cost, failed attempts, how it ended', async () => {
    const page = await open('ops-key');
    await page.locator('#rows tr', { hasText: '2 failed before' }).click();
    await page.waitForSelector('dialog[open]');
    const record = await find('gpt-4o-mini');
    expect(await page.textContent('dialog h2')).toBe(record.model);
    expect(await page.textContent('dialog .how')).toBe('✓ answered · 200 The whole answer reached the caller.');
    expect(await factOf(page, 'to the first byte').textContent()).toBe(`${record.first_byte_ms} ms`);
    expect(await factOf(page, 'in all').textContent()).toBe(`${record.duration_ms} ms`);
    expect(await factOf(page, 'chunks').textContent()).toMatch(new RegExp(`^${record.chunks}one in \\d+ ms$`));
    expect(await factOf(page, 'input').textContent()).toBe(String(record.tokens.input));
    expect(await factOf(page, 'output').textContent()).toBe(String(record.tokens.output));
    expect(await factOf(page, 'cost').textContent()).toBe(`$${record.cost_usd}`);
    expect(await factOf(page, 'asked for').textContent()).toBe('llama3.2');
    expect(await page.locator('.attempts li').allTextContents()).toEqual([
      'gpu status 503',
      'gpu status 503',
      'cloud answered, 200',
    ]);
    expect(await page.locator('dialog', { hasText: 'They are not kept: HISTORY_CONTENT is none.' }).count()).toBe(1);
    expect(await page.locator('.timing i').evaluateAll((parts) => parts.length)).toBe(2);
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog[open]', { state: 'detached' });
    await expect.poll(() => page.url()).not.toContain('call=');
    await page.goBack();
    await page.waitForSelector('dialog[open]');
    expect(await page.textContent('dialog h2')).toBe(record.model);
  });

  test.each([
    ['lab-cut', 'The backend lab failed in the middle of its answer.', 'lab the connection failed'],
    [
      'lab-stall',
      /^The caller left after .*, in the middle of the answer\.$/,
      'lab cancelled, since the caller had left',
    ],
  ])('say of %s how it ended', async (model, sentence, attempt) => {
    const page = await open('ops-key');
    await page.locator('#rows tr', { hasText: model }).click();
    await page.waitForSelector('dialog[open]');
    const how = (await page.textContent('dialog .how'))!.replace(/^.*200 /, '');
    expect(how).toMatch(sentence);
    expect(await page.locator('.attempts li').allTextContents()).toEqual([attempt]);
    expect(await page.textContent('dialog')).toContain('The backend told no usage of this call: that is not zero.');
  });

  test('are told apart where their caller gave them one request id', async () => {
    for (const user of ['twin-one', 'twin-two', 'twin-three'])
      await proxy.call('ops-key', { model: 'gpt-4o', user }, { 'X-Request-ID': 'twins' });
    const page = await open('ops-key', '?text=twins');
    await rows(page).nth(2).waitFor();
    expect(await rows(page).count()).toBe(3);
    for (const [at, user] of ['twin-three', 'twin-two', 'twin-one'].entries()) {
      await rows(page).nth(at).click();
      await page.waitForSelector('dialog[open]');
      expect(await factOf(page, 'end user').textContent()).toBe(user);
      await page.keyboard.press('Escape');
    }
  });

  test('have an address each, which finds them again', async () => {
    const { id } = await find('customer-812');
    const page = await open('ops-key', `?call=${id}&outcome=refused`);
    await page.waitForSelector('dialog[open]');
    expect(await factOf(page, 'end user').textContent()).toBe('customer-812');
    await page.goto(`${proxy.gateway.url}/_proxy/ui?call=no-such-id`);
    await page.waitForSelector('dialog[open]:has-text("This call is not there")');
  });

  test("are a key's own where it is no admin's, by whatever address", async () => {
    const page = await open('ada-key', '?caller=bob');
    await isLive(page);
    await rows(page).nth(2).waitFor();
    expect(await page.textContent('#who')).toBe('key ada · its own calls');
    expect(await page.locator('td.model').allTextContents()).toEqual([
      'lab-cut',
      'gpt-4o-miniasked for llama3.2',
      'llama3.2',
    ]);
    expect(await page.locator('[name=caller], td.caller').count()).toBe(0);
    expect(await page.locator('#backends .load').allTextContents()).toEqual(['', '', '']);
    const held = await proxy.hold('bob-key', { model: 'lab-stall' });
    const own = await proxy.hold('ada-key', { model: 'lab-stall' });
    await page.waitForSelector('#running li.flows');
    expect(await page.locator('#running li.flows').count()).toBe(1);
    held.leave();
    own.leave();
    await expect.poll(() => rows(page).count()).toBe(4);
    expect(await page.textContent('body')).not.toContain('bob');
  });

  test('are for nobody without a key', async () => {
    for (const path of ['/_proxy/ui', '/_proxy/ui/live']) {
      const answer = await fetch(proxy.url + path);
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, expect.stringMatching(/^Basic /)]);
    }
  });
});

describe('as it happens', () => {
  beforeEach(async () => {
    proxy = await startProxyPage({ BREAKER_FAILURES: '1', RETRIES: '0', HISTORY_CONTENT: 'full' });
  });
  afterEach(() => proxy.close());

  test('a call is seen under way, and then in history, without a reload', async () => {
    const page = await open('ops-key');
    await isLive(page);
    await page.waitForSelector('#empty:has-text("No call yet.")');
    expect(await page.textContent('#empty pre')).toContain(`curl ${proxy.gateway.url}/v1/chat/completions`);
    expect(await page.textContent('#running')).toBe('No call is under way.');
    const held = await proxy.hold('ada-key', { model: 'lab-stall' });
    await page.waitForSelector('#running li.flows');
    expect(await page.textContent('#running .state')).toMatch(/^lab · streaming, 1 chunk, \d+ B$/);
    const since = () => page.textContent('#running .since').then((text) => Number.parseFloat(text!));
    const first = await since();
    await expect.poll(since).toBeGreaterThan(first);
    await expect.poll(() => page.locator('#backends li', { hasText: 'lab' }).textContent()).toContain('1 in flight');
    held.leave();
    await page.waitForSelector('#rows tr:has-text("caller left")');
    expect(await page.textContent('#running')).toBe('No call is under way.');
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed });
    await page.waitForSelector('#rows tr:first-child:has-text("llama3.2")');
    expect(await page.locator('#empty').isVisible()).toBe(false);
    expect(complaints).toEqual([]);
  });

  test('a backend that fails is shown with its breaker', async () => {
    const page = await open('ops-key');
    await isLive(page);
    await proxy.call('ada-key', { model: 'lab-cut', stream: true });
    await page.waitForSelector('#backends li.bad:has-text("lab"):has-text("breaker open, a probe at ")');
  });

  test('prompt and answer are shown where they are kept, as text', async () => {
    await proxy.call('ada-key', { model: 'lab-x', messages: [{ role: 'user', content: '<b>Why?</b>' }] });
    const page = await open('ops-key');
    await rows(page).first().click();
    await page.waitForSelector('dialog[open]');
    expect(await page.locator('dialog section > pre').first().textContent()).toBe('user: <b>Why?</b>');
    expect(await page.locator('dialog details pre').first().textContent()).toContain('"model":"lab-x"');
    expect(await page.locator('dialog section b').filter({ hasText: 'Why?' }).count()).toBe(0);
    await page.keyboard.press('Escape');
    await proxy.call('ada-key', { model: 'llama2', stream: true });
    await page.locator('#rows tr', { hasText: 'llama2' }).click();
    await page.waitForSelector('dialog[open] h2:text("llama2")');
    expect(await page.locator('dialog section > pre').nth(1).textContent()).toMatch(/^\w+( \w+)+/);
  });

  test('nothing that a caller or a model is called becomes markup', async () => {
    const evil = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';
    proxy.told.model = evil;
    const page = await open('ops-key');
    await isLive(page);
    const held = await proxy.hold('ada-key', { model: 'lab-stall', user: evil });
    await proxy.call('ada-key', { model: `<${evil}`, user: evil });
    await page.waitForSelector(`#rows tr:has-text("onerror")`);
    await rows(page).first().click();
    await page.waitForSelector('dialog[open]');
    expect(await factOf(page, 'end user').textContent()).toBe(evil);
    held.leave();
    expect(await page.locator('img, #rows script, dialog script').count()).toBe(0);
    expect(await page.title()).toBe('Calls · completion-proxy');
    expect(complaints).toEqual([]);
  });

  test('a cut is said, and mended: calls of the meantime are there again', async () => {
    const page = await open('ops-key');
    await isLive(page);
    proxy.gateway.down(true);
    await page.waitForSelector('#live.cut');
    expect(await page.textContent('#live')).toBe('live updates are cut: connecting again …');
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed });
    expect(await rows(page).count()).toBe(0);
    proxy.gateway.down(false);
    await isLive(page);
    await page.waitForSelector('#rows tr:has-text("llama3.2")');
  });

  test('pages go back in time by cursor, and say how many came since', async () => {
    for (let round = 0; round < 14; round += 1) {
      await Promise.all(
        Array.from({ length: 5 }, (_, index) => proxy.call('ada-key', { model: `lab-${round * 5 + index}` })),
      );
    }
    const page = await open('ops-key');
    await expect.poll(() => rows(page).count()).toBe(50);
    const newest = await page.locator('#rows a.open').evaluateAll((links) => links.map((link) => String(link)));
    await page.click('#older');
    await expect.poll(() => rows(page).count()).toBe(20);
    const older = await page.locator('#rows a.open').evaluateAll((links) => links.map((link) => String(link)));
    const idOf = (href: string) => new URL(href).searchParams.get('call');
    expect(new Set([...newest, ...older].map(idOf)).size).toBe(70);
    await proxy.call('ada-key', { model: 'llama3.2' });
    await page.waitForSelector('#newest:has-text("Newest (1 more since)")');
    expect(await rows(page).count()).toBe(20);
    await page.click('#newest');
    await page.waitForSelector('#rows tr:first-child:has-text("llama3.2")');
  });

  test('at most 200 calls are held, and older ones are still a page away', async () => {
    const page = await open('ops-key');
    await isLive(page);
    for (let round = 0; round < 21; round += 1) {
      await Promise.all(Array.from({ length: 10 }, () => proxy.call('ada-key', { model: 'lab-many' })));
    }
    await expect.poll(() => page.textContent('#sum'), { timeout: 10_000 }).toMatch(/^of these 200: /);
    expect(await rows(page).count()).toBe(200);
    await page.click('#older');
    await expect.poll(() => rows(page).count()).toBe(10);
  });
});

test('history that is off is said, and what is under way is shown all the same', async () => {
  proxy = await startProxyPage({ HISTORY_DAYS: '0' });
  try {
    const page = await open('ops-key');
    await isLive(page);
    expect(await page.textContent('#off')).toContain('History is off: HISTORY_DAYS is 0');
    const held = await proxy.hold('ada-key', { model: 'lab-stall' });
    await page.waitForSelector('#running li.flows');
    held.leave();
    expect(complaints).toEqual([]);
  } finally {
    await proxy.close();
  }
});

/** The least contrast of a word with what lies behind it, as WCAG 2 measures it. */
const leastContrast = `(() => {
  const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const luminance = ({ r, g, b }) => [r, g, b].map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const root = document.querySelector('dialog[open]') ?? document.body;
  const words = [...root.querySelectorAll('*')].filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== '') && node.checkVisibility());
  return Math.min(...words.map((node) => {
    const [ink, paper] = [luminance(parse(getComputedStyle(node).color)), luminance(ground(node))];
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }));
})()`;

describe('to look at', () => {
  const held: { leave(): void }[] = [];
  beforeAll(async () => {
    proxy = await startProxyPage({ HISTORY_CONTENT: 'full' });
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed, user: 'customer-812' });
    await proxy.call('bob-key', { model: 'gpt-4o', ...streamed });
    proxy.ollama.faults.push({ kind: 'status', status: 503, times: 2 });
    await proxy.call('ada-key', { model: 'llama3.2', ...streamed });
    await proxy.call('ada-key', { model: 'lab-cut', stream: true });
    await proxy.call('bob-key', { model: 'nobody-serves-this' });
    (await proxy.hold('bob-key', { model: 'lab-stall' })).leave();
    for (const model of ['llama2', 'qwen2.5:0.5b', 'gpt-4o', 'gpt-4o-mini'])
      await proxy.call('ops-key', { model, ...streamed });
    held.push(await proxy.hold('ada-key', { model: 'lab-stall' }), await proxy.hold('bob-key', { model: 'lab-stall' }));
  });
  afterAll(async () => {
    for (const one of held) one.leave();
    await proxy.close();
  });

  test.each([
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['phone', { colorScheme: 'light', ...phone }],
    ['phone-dark', { colorScheme: 'dark', ...phone }],
  ] as const)('in %s no word is faint, and nothing scrolls sideways', async (look, options) => {
    const page = await open('ops-key', '', options);
    await isLive(page);
    await page.waitForSelector('#running li.flows');
    await rows(page).nth(9).waitFor();
    expect(await page.evaluate(leastContrast)).toBeGreaterThanOrEqual(4.5);
    expect(await across(page)).toBeLessThanOrEqual(0);
    await page.screenshot({ path: join(folder, `list-${look}.png`), animations: 'disabled' });
    if (look.startsWith('phone')) {
      await page.click('#more');
      await page.waitForSelector('[name=outcome]');
      expect(await across(page)).toBeLessThanOrEqual(0);
      await page.locator('#past').scrollIntoViewIfNeeded();
      await page.screenshot({ path: join(folder, `filters-${look}.png`), animations: 'disabled' });
    }
    await page.locator('#rows tr', { hasText: '2 failed before' }).click();
    await page.waitForSelector('dialog[open]');
    expect(await page.evaluate(leastContrast)).toBeGreaterThanOrEqual(4.5);
    expect(
      await page.evaluate(
        'document.querySelector("dialog").scrollWidth - document.querySelector("dialog").clientWidth',
      ),
    ).toBe(0);
    await page.screenshot({ path: join(folder, `call-${look}.png`), animations: 'disabled' });
    expect(complaints).toEqual([]);
  });

  test('every control has a name, and there is one heading above all', async () => {
    const page = await open('ops-key');
    expect(await page.locator('h1').count()).toBe(1);
    for (const name of ['Search in calls', 'model', 'caller', 'status', 'How it ended', 'When']) {
      expect([name, await page.getByLabel(name, { exact: true }).count()]).toEqual([name, 1]);
    }
    await page.keyboard.press('/');
    expect(await page.evaluate('document.activeElement.name')).toBe('text');
  });
});
