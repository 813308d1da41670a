import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { UpstreamError } from '#shared/errors.ts';
import { openBrowser } from '../support/browser.ts';
import { serveHandler } from '../support/serve.ts';
import { createPages } from '../support/spend-pages.ts';

let served: Awaited<ReturnType<typeof serveHandler>>;
let pages: ReturnType<typeof createPages>;
let gateway: Server;
let browser: { context: BrowserContext; close(): Promise<void> };
const seen: string[] = [];
const complaints: string[] = [];

/** As a gateway does: what follows `prefix` reaches the function, without the prefix. */
function startGateway(prefix: string): Promise<Server> {
  const server = createServer((req, res) => {
    const url = req.url ?? '/';
    if (url !== prefix && !url.startsWith(`${prefix}/`) && !url.startsWith(`${prefix}?`))
      return res.writeHead(404).end('elsewhere');
    const rest = url.slice(prefix.length);
    const path = rest.startsWith('/') ? rest : `/${rest}`;
    const upstream = request(served.url + path, { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    return upstream.end();
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

beforeAll(async () => {
  pages = createPages();
  served = await serveHandler(pages.handler);
  gateway = await startGateway('/function/llm-global-spend');
});
afterAll(async () => {
  gateway.closeAllConnections();
  gateway.close();
  await served.close();
});
beforeEach(() => {
  seen.length = 0;
  complaints.length = 0;
});
afterEach(() => browser.close());

async function open(options: Parameters<typeof openBrowser>[0] = {}): Promise<Page> {
  browser = await openBrowser({ viewport: { width: 1180, height: 900 }, ...options });
  const page = await browser.context.newPage();
  page.on('request', (one) => seen.push(one.url()));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  return page;
}

const background = (page: Page) =>
  page
    .locator('body')
    .evaluate(
      (body: never) =>
        (globalThis as never as { getComputedStyle(element: never): { backgroundColor: string } }).getComputedStyle(
          body,
        ).backgroundColor,
    );
/** How many pixels the page is wider than its window: a phone would scroll sideways. */
const overflow = (page: Page) => page.evaluate('document.documentElement.scrollWidth - innerWidth');

describe('the page', () => {
  test('shows totals, budgets, the days by model, and who spent it', async () => {
    const page = await open();
    await page.goto(served.url);
    expect(await page.title()).toMatch(/^LLM spend · \$1,234\.44$/);
    expect(await page.locator('.tile b').allTextContents()).toEqual(['$14,183.48', '$1,234.44', '$14.80']);
    expect(await page.locator('.chart.wide .col').count()).toBe(21);
    expect(await page.locator('.legend li').count()).toBe(8);
    expect(await page.locator('.budgets .state').allTextContents()).toEqual([
      '✕ 104.5 %',
      '▲ 82.2 %',
      '▲ 81.4 %',
      '✓ 3 %',
    ]);
    expect(await page.locator('h2').allTextContents()).toEqual(
      expect.arrayContaining(['By model', 'By team', 'By user', 'By key']),
    );
    expect(await page.locator('section:has(h2:text("By team")) tbody td:first-child a').allTextContents()).toEqual([
      'Research',
      'Customer support',
      'Product',
    ]);
    expect(complaints).toEqual([]);
  });

  test('asks nobody but its own address, and nothing but itself', async () => {
    const page = await open();
    await page.goto(served.url, { waitUntil: 'networkidle' });
    expect(seen.filter((url) => !url.endsWith('/favicon.ico'))).toEqual([`${served.url}/`]);
    expect(complaints).toEqual([]);
  });

  test('runs no script and no style that is not its own', async () => {
    const page = await open();
    await page.goto(served.url);
    await page.evaluate(
      `document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = "owned"' }))`,
    );
    expect(await page.title()).not.toBe('owned');
    expect(complaints.join()).toMatch(/Content Security Policy/);
  });

  test('shows a name that is markup as text', async () => {
    const evil = '<img src=x onerror=document.title="owned">';
    pages.reports.facts.push({
      day: '2024-02-01',
      usd: '1',
      model: evil,
      user: `"'>${evil}`,
      team: '<b>',
      key: '</title>',
    });
    const page = await open();
    await page.goto(`${served.url}/?start_date=2024-02-01&end_date=2024-02-03`);
    expect(await page.locator('.legend li').first().textContent()).toContain(evil);
    await page.locator('.chart.wide .col').first().hover();
    expect(await page.locator('#tip').textContent()).toContain(evil);
    expect(await page.locator('img').count()).toBe(0);
    expect(await page.title()).toBe('LLM spend · $1.00');
  });

  test('tells the numbers of a day beside the pointer, and the same in a table', async () => {
    const page = await open();
    await page.goto(served.url);
    expect(await page.locator('#tip').isVisible()).toBe(false);
    await page.locator('.chart.wide .col').nth(11).hover();
    const tip = (await page.locator('#tip').innerText()).split('\n');
    expect(tip.slice(0, 2)).toEqual(['Thu, 12 Nov 2026', '$201.71']);
    expect(tip).toHaveLength(10);
    await page.locator('h1').hover();
    expect(await page.locator('#tip').isVisible()).toBe(false);
    await page.getByText('The same as a table').click();
    const row = page.locator('details tbody tr').nth(11);
    expect(await row.locator('td').nth(0).textContent()).toBe('Thu, 12 Nov 2026');
    expect(await row.locator('td').nth(1).textContent()).toBe('$201.71');
    expect(tip.join(' ')).toContain((await row.locator('td').nth(2).textContent())!);
  });

  test('works without scripts', async () => {
    const page = await open({ javaScriptEnabled: false });
    await page.goto(served.url);
    await page.getByText('Last month').click();
    expect(await page.locator('.chart.wide .col').count()).toBe(31);
    expect(await page.locator('[aria-current=page]').textContent()).toBe('Last month');
  });

  test('says that LiteLLM is away on a page with a way back', async () => {
    pages.reports.failure = new UpstreamError('LiteLLM', 'network', 'ECONNREFUSED 10.0.0.7', {
      advice: 'check LITELLM_API_BASE_URL',
    });
    const page = await open();
    const response = await page.goto(served.url);
    pages.reports.failure = undefined;
    expect(response?.status()).toBe(502);
    expect(await page.locator('[role=alert]').innerText()).toContain(
      'LiteLLM could not be reached: check LITELLM_API_BASE_URL',
    );
    expect(await page.content()).not.toContain('10.0.0.7');
    await page.getByText('Back to this month').click();
    expect(await page.locator('.tile').count()).toBe(3);
  });
});

describe('the period picker', () => {
  test('leads to other days by one click, and by two dates', async () => {
    const page = await open();
    await page.goto(served.url);
    await page.getByText('7 days').click();
    expect(new URL(page.url()).search).toBe('?start_date=2026-11-15&end_date=2026-11-21');
    expect(await page.locator('.chart.wide .col').count()).toBe(7);
    await page.locator('[name=start_date]').fill('2026-10-30');
    await page.locator('[name=end_date]').fill('2026-11-02');
    await page.getByRole('button', { name: 'Show' }).click();
    expect(await page.locator('.chart.wide .col').count()).toBe(4);
    expect(await page.locator('[aria-current=page]').count()).toBe(0);
  });

  test('makes months of more than 92 days', async () => {
    const page = await open();
    await page.goto(served.url);
    await page.getByText('12 months').click();
    expect(await page.locator('.chart.wide .col').count()).toBe(12);
    expect(await page.locator('h2').first().textContent()).toContain('by month and model');
  });

  test('keeps the filter that a name in a table set, until it is taken away', async () => {
    const page = await open();
    await page.goto(served.url);
    await page.getByText('Customer support').click();
    expect(new URL(page.url()).searchParams.get('team_id')).toBe('t-support');
    await page.getByText('team t-support ✕').waitFor();
    expect(await page.locator('#budgets').count()).toBe(0);
    await page.getByText('90 days').click();
    expect(new URL(page.url()).searchParams.get('team_id')).toBe('t-support');
    await page.getByRole('button', { name: 'Show' }).click();
    expect(new URL(page.url()).searchParams.get('team_id')).toBe('t-support');
    await page.getByText('team t-support ✕').click();
    expect(new URL(page.url()).searchParams.has('team_id')).toBe(false);
    await page.locator('#budgets').waitFor();
  });
});

describe('its links', () => {
  // What a browser's address may be: with and without a slash behind the gateway, and a domain of its own.
  test.each([
    ['/function/llm-global-spend', () => addressOf(gateway)],
    ['/function/llm-global-spend/', () => addressOf(gateway)],
    ['/', () => served.url],
  ])('work under %s: periods, the statement and the way back', async (path, origin) => {
    const page = await open();
    await page.goto(origin() + path);
    await page.getByText('Last month').click();
    expect(new URL(page.url()).pathname).toBe(path);
    await page.getByText('Statement of October 2026').click();
    expect(await page.locator('h1').textContent()).toBe('Statement of October 2026');
    await page.getByText('← September 2026').click();
    expect(await page.locator('h1').textContent()).toBe('Statement of September 2026');
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('CSV').click()]);
    expect(download.suggestedFilename()).toBe('llm-statement-2026-09.csv');
    await page.getByText('Spend', { exact: true }).click();
    expect(await page.locator('h1').textContent()).toBe('LLM spend');
    expect(new URL(page.url()).pathname).toBe(path);
  });

  test('of a statement that was asked for by its own path work too', async () => {
    const page = await open();
    await page.goto(`${addressOf(gateway)}/function/llm-global-spend/statement?month=2026-10`);
    await page.getByText('← September 2026').click();
    expect(new URL(page.url()).pathname).toBe('/function/llm-global-spend/statement');
    await page.getByText('Spend', { exact: true }).click();
    expect(await page.locator('h1').textContent()).toBe('LLM spend');
  });
});

describe('on any screen', () => {
  test('is dark where the person wants it dark', async () => {
    const light = await open({ colorScheme: 'light' });
    await light.goto(served.url);
    const bright = await background(light);
    await browser.close();
    const dark = await open({ colorScheme: 'dark' });
    await dark.goto(served.url);
    expect([bright, await background(dark)]).toEqual(['rgb(246, 246, 243)', 'rgb(13, 13, 13)']);
  });

  test.each(['/', '/?view=statement&month=2026-10', '/?start_date=2026-08-22&end_date=2026-11-21', '/?end_date=2019'])(
    'needs no scrolling sideways on a phone at %s',
    async (path) => {
      const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true });
      await page.goto(served.url + path);
      expect(await overflow(page)).toBe(0);
    },
  );

  test('draws the chart for a phone at its size, with text that can be read', async () => {
    const page = await open({ viewport: { width: 390, height: 844 }, isMobile: true });
    await page.goto(served.url);
    expect(await page.locator('.chart.wide').isVisible()).toBe(false);
    const { height } = (await page.locator('.chart.narrow text').first().boundingBox())!;
    expect(height).toBeGreaterThan(10);
  });

  test('has a name for every control, and one heading above all', async () => {
    const page = await open();
    await page.goto(served.url);
    expect(await page.locator('h1').count()).toBe(1);
    await expect(page.getByLabel('from').count()).resolves.toBe(1);
    await expect(page.getByLabel('to', { exact: true }).count()).resolves.toBe(1);
    expect(
      await page.getByRole('img', { name: /^Spend by day and model, 1 Nov – 21 Nov 2026: \$1,234\.44$/ }).count(),
    ).toBe(1);
  });
});

test('a person opens it with a key as the password, and nobody without', async () => {
  const authenticate = createAuthenticate(
    {
      AUTH: ['api-key'],
      ALLOW_SCHEDULED_TICK: false,
      'function-api-key': { name: 'function-api-key', read: () => 'me:the-key' },
      'webhook-secret': { name: 'webhook-secret', read: () => undefined },
    },
    'llm-global-spend',
  );
  const closed = createPages({ authenticate });
  const own = await serveHandler(closed.handler);
  try {
    const page = await open({ httpCredentials: { username: 'any', password: 'the-key' } });
    expect((await page.goto(own.url))?.status()).toBe(200);
    expect(await page.locator('h1').textContent()).toBe('LLM spend');
    const refused = await fetch(own.url, { headers: { accept: 'text/html' } });
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, expect.stringMatching(/^Basic /)]);
  } finally {
    await own.close();
  }
});
