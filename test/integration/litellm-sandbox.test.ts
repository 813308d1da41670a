import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';

const now = new Date('2026-11-21T06:30:00Z');
let sandbox: LitellmSandbox;

beforeAll(async () => {
  sandbox = await startLitellmSandbox({ seed: 11, now: () => now });
});
afterAll(() => sandbox.close());

// biome-ignore lint/suspicious/noExplicitAny: bodies of many shapes, which the tests look into
type Body = any;

async function get(
  path: string,
  key: string | null = 'sk-sandbox',
): Promise<{ status: number; headers: Headers; body: Body }> {
  const response = await fetch(sandbox.url + path, key === null ? {} : { headers: { Authorization: `Bearer ${key}` } });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

const rowsOf = (day: string) => sandbox.rows.filter((row) => row.startTime.startsWith(day));

describe('the rows', () => {
  it('are the same for a seed, and others for another', async () => {
    const [same, other] = await Promise.all([
      startLitellmSandbox({ seed: 11, now: () => now }),
      startLitellmSandbox({ seed: 12, now: () => now }),
    ]);
    expect(same.rows).toEqual(sandbox.rows);
    expect(other.rows).not.toEqual(sandbox.rows);
    await Promise.all([same.close(), other.close()]);
  });

  it('are some months of several users, teams, models, keys and end users, up to now and not beyond', () => {
    const values = (name: 'user' | 'team_id' | 'model' | 'api_key' | 'end_user') =>
      new Set(sandbox.rows.map((row) => row[name])).size;
    expect(sandbox.rows.length).toBeGreaterThan(1_500);
    expect(sandbox.rows.length).toBeLessThan(5_000);
    expect([values('user'), values('team_id'), values('model'), values('api_key'), values('end_user')]).toEqual([
      4, 3, 5, 4, 5,
    ]);
    expect(new Set(sandbox.rows.map((row) => row.request_id)).size).toBe(sandbox.rows.length);
    expect(sandbox.rows.every((row) => row.startTime < now.toISOString())).toBe(true);
    expect(sandbox.rows.filter((row) => row.status === 'failure').every((row) => row.spend === 0)).toBe(true);
  });

  it('refuse a profile that nobody has written', async () => {
    await expect(startLitellmSandbox({ profile: '0.1' })).rejects.toThrow('No such profile: 0.1');
  });
});

describe('GET /spend/logs with both dates', () => {
  it('leaves out the end day and yet shows it, with 0', async () => {
    const { body } = await get('/spend/logs?start_date=2026-11-18&end_date=2026-11-20');
    expect(rowsOf('2026-11-20').length).toBeGreaterThan(0);
    expect(body.at(-1)).toEqual({ startTime: '2026-11-20', spend: 0, users: {}, models: {} });
    expect(body[0].startTime).toBe('2026-11-18');
  });

  it('lets in a row at exactly midnight of the end day', async () => {
    const { body } = await get('/spend/logs?start_date=2026-10-30&end_date=2026-11-01');
    const midnight = rowsOf('2026-11-01').find((row) => row.startTime.endsWith('T00:00:00.000Z'));
    expect(body.at(-1)).toMatchObject({ startTime: '2026-11-01', spend: midnight?.spend });
  });

  it('pads days after the last one with rows, and none before or between', async () => {
    const quiet = await startLitellmSandbox({ now: () => now });
    quiet.rows.length = 0;
    quiet.addRow({ startTime: '2026-11-05T10:00:00Z', spend: 1 });
    quiet.addRow({ startTime: '2026-11-08T10:00:00Z', spend: 2 });
    const response = await fetch(`${quiet.url}/spend/logs?start_date=2026-11-01&end_date=2026-11-10`, {
      headers: { Authorization: 'Bearer sk-sandbox' },
    });
    const days = (await response.json()) as { startTime: string }[];
    expect(days.map(({ startTime }) => startTime)).toEqual(['2026-11-05', '2026-11-08', '2026-11-09', '2026-11-10']);
    await quiet.close();
  });

  it('is an empty list where there are no rows, though days were asked for', async () => {
    expect((await get('/spend/logs?start_date=2020-01-01&end_date=2020-01-31')).body).toEqual([]);
    expect((await get('/spend/logs?start_date=2026-11-20&end_date=2026-11-20')).body).toEqual([]);
  });

  it('gives raw rows of the window with summarize=false, newest first', async () => {
    const { body } = await get('/spend/logs?start_date=2026-11-19&end_date=2026-11-20&summarize=false');
    expect(body).toHaveLength(rowsOf('2026-11-19').length);
    expect(body[0].startTime).toMatch(/^2026-11-19T.*\d{6}Z$/);
    expect(body[0].startTime >= body.at(-1).startTime).toBe(true);
  });

  it.each([
    ['2026-11-1', "/spend/logs Errortime data '2026-11-1' does not match format '%Y-%m-%d'"],
    ['2026-11-01 10:00:00', '/spend/logs Errorunconverted data remains:  10:00:00'],
  ])('fails with 500 on the date %s', async (date, message) => {
    const { status, body } = await get(`/spend/logs?start_date=${encodeURIComponent(date)}&end_date=2026-11-20`);
    expect(status).toBe(500);
    expect(body).toEqual({ error: { message, type: 'internal_error', param: 'None', code: '500' } });
  });
});

describe('GET /spend/logs without both dates', () => {
  it('gives raw rows, and takes one date for none', async () => {
    const { body, headers } = await get('/spend/logs?start_date=2026-11-20');
    expect(body).toHaveLength(sandbox.rows.length);
    expect(headers.get('x-litellm-spend-logs-truncated')).toBeNull();
    expect(body[0]).toMatchObject({ messages: {}, response: {} });
  });

  it('stops at 10,000 rows and says so in a header', async () => {
    const busy = await startLitellmSandbox({ now: () => now });
    for (let index = 0; index < 10_000; index++) {
      busy.addRow({ request_id: `busy-${index}`, startTime: '2026-11-20T10:00:00Z' });
    }
    const headers = { Authorization: 'Bearer sk-sandbox' };
    const response = await fetch(`${busy.url}/spend/logs`, { headers });
    expect(await response.json()).toHaveLength(10_000);
    expect(response.headers.get('x-litellm-spend-logs-truncated')).toBe('true');
    const dates = 'start_date=2026-01-01&end_date=2026-11-22';
    const page = await fetch(`${busy.url}/spend/logs/v2?${dates}&page_size=1000&page=11`, { headers });
    const { data, ...rest } = (await page.json()) as { data: unknown[] };
    expect(rest).toEqual({ total: 10_000, page: 11, page_size: 1_000, total_pages: 10, total_is_capped: true });
    expect(data).toHaveLength(1_000);
    await busy.close();
  });

  it('finds one request, or none', async () => {
    const id = sandbox.rows[0]!.request_id;
    expect((await get(`/spend/logs?request_id=${id}`)).body).toMatchObject([{ request_id: id }]);
    expect((await get('/spend/logs?request_id=nothing')).body).toEqual([]);
  });
});

describe('GET /spend/logs/v2', () => {
  it('counts both ends in', async () => {
    const row = rowsOf('2026-11-01').find(({ startTime }) => startTime.endsWith('T00:00:00.000Z'));
    const { body } = await get('/spend/logs/v2?start_date=2026-10-31&end_date=2026-11-01&page_size=1');
    expect(body.total).toBe(rowsOf('2026-10-31').length + 1);
    expect(body.data[0]).toMatchObject({ request_id: row?.request_id, startTime: '2026-11-01T00:00:00+00:00' });
  });

  it('needs both dates, in its own formats', async () => {
    expect(await get('/spend/logs/v2?start_date=2026-11-01')).toMatchObject({
      status: 400,
      body: { error: { message: 'Start date and end date are required', type: 'bad_request' } },
    });
    expect((await get('/spend/logs/v2?start_date=Nov&end_date=2026-11-02')).body.error.message).toBe(
      "Invalid date format: Nov. Expected: 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'",
    );
    expect((await get('/spend/logs/ui?start_date=2026-11-01&end_date=2026-11-02')).status).toBe(400);
  });

  it('refuses a page of more than 1,000 rows as FastAPI does', async () => {
    expect(await get('/spend/logs/v2?start_date=2026-11-01&end_date=2026-11-02&page_size=1001')).toMatchObject({
      status: 422,
      body: {
        detail: [
          {
            type: 'less_than_equal',
            loc: ['query', 'page_size'],
            msg: 'Input should be less than or equal to 1000',
            input: '1001',
            ctx: { le: 1000 },
          },
        ],
      },
    });
  });
});

describe('GET /user/daily/activity', () => {
  const dates = 'start_date=2026-11-18&end_date=2026-11-20';

  it('counts the end day in', async () => {
    const { body } = await get(`/user/daily/activity/aggregated?${dates}`);
    expect(body.results[0].date).toBe('2026-11-20');
    expect(body.results[0].metrics.api_requests).toBe(rowsOf('2026-11-20').length);
    expect(body.metadata).toMatchObject({ page: 1, total_pages: 1, has_more: false });
  });

  it('gives totals of the page alone, which add up to the whole over all pages', async () => {
    const whole = (await get(`/user/daily/activity/aggregated?${dates}`)).body.metadata;
    let [requests, pages] = [0, 0];
    for (let more = true; more; ) {
      pages++;
      const { metadata } = (await get(`/user/daily/activity?${dates}&page_size=10&page=${pages}`)).body;
      expect(metadata.total_api_requests).toBeLessThan(whole.total_api_requests);
      requests += metadata.total_api_requests;
      more = metadata.has_more;
    }
    expect(pages).toBeGreaterThan(2);
    expect(requests).toBe(whole.total_api_requests);
  });

  it('needs both dates', async () => {
    expect((await get('/user/daily/activity?start_date=2026-11-18')).status).toBe(400);
  });
});

describe('who may ask', () => {
  it('is told that a key is missing', async () => {
    expect(await get('/spend/logs', null)).toMatchObject({
      status: 401,
      body: {
        error: {
          message: 'Authentication Error, No api key passed in.',
          type: 'auth_error',
          param: 'None',
          code: '401',
        },
      },
    });
  });

  it('is told that a key is unknown', async () => {
    const { status, body } = await get('/spend/logs/v2', 'sk-wrong');
    expect(status).toBe(401);
    expect(body.error.message).toMatch(/^Authentication Error, Invalid proxy server token passed/);
  });

  it('may ask for readiness without a key', async () => {
    expect((await get('/health/readiness', null)).body).toMatchObject({ db: 'connected', litellm_version: '1.101.0' });
  });
});
