import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBrowser } from '../support/browser.ts';
import { serveWakePages } from '../support/wake-pages.ts';

const folder = join(import.meta.dirname, '../../.cache/screenshots/wake');
const states = [
  ['removed', 'starting', 0],
  ['pulling', 'starting', 0],
  ['warming', 'starting', 5],
  ['healing', 'starting', 2],
  ['ready', 'ready', 2],
  ['failed', 'failed', 2],
  ['long', 'starting', 9],
  ['nobody', 'unknown', 0],
  ['down', 'failed', 0],
] as const;
const looks = {
  light: { colorScheme: 'light', viewport: { width: 900, height: 720 } },
  dark: { colorScheme: 'dark', viewport: { width: 900, height: 720 } },
  phone: {
    colorScheme: 'light',
    viewport: { width: 360, height: 740 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
  },
} as const;

let pages: Awaited<ReturnType<typeof serveWakePages>>;

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  pages = await serveWakePages();
});
afterAll(() => pages.close());

/** The contrast of what is written on the card, as WCAG 2 measures it. */
const leastContrast = `(() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const card = luminance(getComputedStyle(document.querySelector('main')).backgroundColor);
  const texts = [...document.querySelectorAll('h1, p, li span, li b')].filter((item) => item.textContent !== '');
  return Math.min(...texts.map((item) => {
    const ink = luminance(getComputedStyle(item).color);
    return (Math.max(ink, card) + 0.05) / (Math.min(ink, card) + 0.05);
  }));
})()`;

describe.each(Object.entries(looks))('in %s', (look, options) => {
  let browser: { context: BrowserContext; close(): Promise<void> };
  beforeAll(async () => {
    browser = await openBrowser(options);
  });
  afterAll(() => browser.close());

  test.each(states)('shows %s without a scrollbar across, an error, or a faint word', async (state, mood, rows) => {
    const page = await browser.context.newPage();
    const errors: string[] = [];
    page.on('console', (message) => {
      // A page with 503 is logged as such.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        errors.push(message.text());
    });
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(pages.addressOf(state));
    expect(await page.getAttribute('main', 'data-mood')).toBe(mood);
    expect(await page.locator('li').count()).toBe(rows);
    await page.screenshot({ path: join(folder, `${state}-${look}.png`), animations: 'disabled' });
    const across = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
    expect(across).toBeLessThanOrEqual(0);
    expect(await page.evaluate(leastContrast)).toBeGreaterThanOrEqual(4.5);
    expect(errors).toEqual([]);
    await page.close();
  });
});

test('starts nothing by being prefetched, and starts when it is opened', async () => {
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  const before = pages.starts.length;
  await page.setExtraHTTPHeaders({ 'Sec-Purpose': 'prefetch' });
  await page.goto(pages.addressOf('removed'));
  expect(await page.textContent('h1')).toBe('nextcloud is asleep');
  expect(pages.starts.length).toBe(before);
  await page.setExtraHTTPHeaders({});
  await page.click('text=Wake it');
  await page.waitForSelector('h1:has-text("Waking nextcloud")');
  expect(pages.starts.length).toBe(before + 1);
  await browser.close();
});
