import { randomUUID } from 'node:crypto';
import { createCatalog, type LagoCatalog } from './lago/catalog.ts';
import { answerGraphql } from './lago/graphql.ts';
import { answerCatalog } from './lago/routes.ts';
import { seedCatalog } from './lago/seed.ts';
import { EventTable, type LagoEvent, type LagoProfile, type Stored, writeBatch } from './lago-events.ts';
import { runSandbox, type Sandbox, type SandboxCall, type SandboxFlags, sendJson, startSandbox } from './server.ts';

export interface LagoSandbox extends Sandbox {
  credentials: { LAGO_API_KEY: string };
  /** What Lago has stored, in the order of arrival. */
  events: Stored[];
  /** Takes events away again, as a restore of an older backup does. */
  lose(transactionIds: string[]): void;
  /**
   * Of those, what an invoice of the open source edition counts: processed, and there before its month (in UTC) was
   * finalized at ten past the hour.
   */
  invoiced(): Stored[];
  /** What its operator has set up. */
  catalog: LagoCatalog;
}

const apiKey = 'lago-sandbox';
const maxBatch = 100;
const versions: Record<LagoProfile, string> = {
  '1.12': 'v1.12.2',
  '1.33': 'v1.33.4',
  '1.39': 'v1.39.0',
  clickhouse: 'v1.51.0',
};

const unauthorized = { status: 401, error: 'Unauthorized' };

function toEventObject(stored: Stored, profile: LagoProfile) {
  return {
    lago_id: profile === 'clickhouse' ? null : stored.lagoId,
    transaction_id: stored.transaction_id,
    lago_customer_id: null,
    code: stored.code,
    timestamp: stored.timestamp,
    precise_total_amount_cents: stored.precise_total_amount_cents,
    properties: stored.properties,
    lago_subscription_id: null,
    external_subscription_id: stored.external_subscription_id,
    created_at: stored.created_at,
  };
}

function sendBadRequest({ res }: SandboxCall, param: string) {
  const error = `BadRequest: param is missing or the value is empty or invalid: ${param}`;
  sendJson(res, 400, { status: 400, error });
}

function sendInvalid({ res }: SandboxCall, details: unknown) {
  sendJson(res, 422, {
    status: 422,
    error: 'Unprocessable Entity',
    code: 'validation_errors',
    error_details: details,
  });
}

function listEvents({ query, res }: SandboxCall, table: EventTable, profile: LagoProfile) {
  const limit = Number(query.get('per_page') ?? 100);
  const page = Number(query.get('page') ?? 1);
  const from = Date.parse(query.get('timestamp_from') ?? '');
  const to = Date.parse(query.get('timestamp_to') ?? '');
  const found = table.list
    .filter((event) => !(table.timeOf(event) < from || table.timeOf(event) > to))
    .filter((event) => (query.get('code') ?? event.code) === event.code)
    .filter(({ external_subscription_id: id }) => (query.get('external_subscription_id') ?? id) === id)
    .sort((left, right) => table.timeOf(right) - table.timeOf(left));
  const pages = Math.ceil(found.length / limit);
  sendJson(res, 200, {
    events: found.slice((page - 1) * limit, page * limit).map((event) => toEventObject(event, profile)),
    meta: {
      current_page: page,
      next_page: page < pages ? page + 1 : null,
      prev_page: page > 1 ? page - 1 : null,
      total_pages: pages,
      total_count: found.length,
    },
  });
}

/**
 * A simulated Lago: the events API with the idempotency of its version. `1.39` (atomic batches) unless `profile` says
 * `1.12` (a duplicate inside a batch is a 500 and leaves the events before it), `1.33` (422, yet the others are stored)
 * or `clickhouse` (a duplicate is accepted and replaces). With a `seed` the simulated LiteLLM's customers have subscriptions.
 */
export async function startLagoSandbox(options: SandboxFlags & { now?: () => Date } = {}): Promise<LagoSandbox> {
  const profile = (options.profile ?? '1.39') as LagoProfile;
  if (!(profile in versions)) throw new Error(`Unknown profile: take one of ${Object.keys(versions).join(', ')}`);
  const { now = () => new Date() } = options;
  const table = new EventTable();
  const events = table.list;
  const catalog = createCatalog(profile, now);
  if (options.seed !== undefined) seedCatalog(catalog);

  function create(call: SandboxCall, incoming: LagoEvent[], single: boolean) {
    const outcome = writeBatch(table, incoming, profile, () => ({
      lagoId: randomUUID(),
      created_at: now().toISOString(),
    }));
    if (outcome.kind === 'crash') return sendJson(call.res, 500, { status: 500, error: 'Internal Server Error' });
    if (outcome.kind === 'invalid') return sendInvalid(call, single ? outcome.problems[0] : outcome.problems);
    const objects = outcome.stored.map((event) => toEventObject(event, profile));
    return sendJson(call.res, 200, single ? { event: objects[0] } : { events: objects });
  }

  function serve(call: SandboxCall) {
    const { method, path, res, json } = call;
    if (path === '/health') {
      return sendJson(res, 200, {
        version: versions[profile],
        github_url: `https://github.com/getlago/lago-api/tree/${versions[profile]}`,
        message: 'Success',
      });
    }
    if (method === 'POST' && path === '/graphql') return answerGraphql(call, profile, apiKey);
    if (!path.startsWith('/api/v1/')) return sendJson(res, 404, { status: 404, error: 'Not Found' });
    if (call.headers.authorization?.split(' ')[1] !== apiKey) return sendJson(res, 401, unauthorized);
    const answer = answerCatalog(call, catalog, events);
    if (answer !== undefined) return answer();
    const route = `${method} ${path.slice('/api/v1'.length)}`;
    const body = json as { event?: LagoEvent; events?: LagoEvent[] } | undefined;
    if (method === 'POST' && (body === undefined || typeof body !== 'object')) return sendBadRequest(call, 'event');
    if (route === 'POST /events/batch') {
      const incoming = Array.isArray(body?.events) ? body.events : [];
      if (incoming.length === 0) return sendInvalid(call, { events: ['no_events'] });
      if (incoming.length > maxBatch) return sendInvalid(call, { events: ['too_many_events'] });
      return create(call, incoming, false);
    }
    if (route === 'POST /events') {
      return body?.event === undefined ? sendBadRequest(call, 'event') : create(call, [body.event], true);
    }
    if (route === 'GET /events' && profile !== '1.12') return listEvents(call, table, profile);
    const id = /^GET \/events\/([^/]+)$/.exec(route)?.[1];
    const found = id === undefined ? undefined : table.find(decodeURIComponent(id));
    if (found !== undefined) return sendJson(res, 200, { event: toEventObject(found, profile) });
    const code = id === undefined ? {} : { code: 'event_not_found' };
    return sendJson(res, 404, { status: 404, error: 'Not Found', ...code });
  }

  const sandbox = await startSandbox({
    name: 'Lago',
    port: options.port ?? 0,
    handle: serve,
    unauthorized: { status: 401, body: unauthorized },
    state: () => ({ events, catalog }),
  });
  const isInTime = (event: Stored) => {
    const at = new Date(table.timeOf(event));
    const finalizedAt = Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1, 0, 10);
    return Date.parse(event.created_at) < finalizedAt;
  };
  const invoiced = () => events.filter((event) => event.unprocessed !== true && isInTime(event));
  const lose = (transactionIds: string[]) => {
    for (const id of transactionIds) table.remove(id);
  };
  return { ...sandbox, credentials: { LAGO_API_KEY: apiKey }, events, invoiced, catalog, lose };
}

if (import.meta.main) await runSandbox(startLagoSandbox);
