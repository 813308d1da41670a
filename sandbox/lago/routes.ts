import type { Stored } from '../lago-events.ts';
import { type SandboxCall, sendJson } from '../server.ts';
import { sendNotFound, sendPage, sendRefused } from './answers.ts';
import { type Charge, isRefusal, type LagoCatalog, type Refusal, type Subscription } from './catalog.ts';
import { writeCustomer, writeSubscription } from './customers.ts';
import { createMetric, toCharge, updateMetric, writePlan } from './plans.ts';
import { answerCurrentUsage, answerEstimate } from './usage.ts';

type Body = Record<string, unknown>;

function send(call: SandboxCall, name: string, written: object | Refusal) {
  if (!isRefusal(written)) return sendJson(call.res, 200, { [name]: written });
  return 'notFound' in written ? sendNotFound(call, written.notFound) : sendRefused(call, written.details);
}

const statusesOf = ({ query }: SandboxCall) => {
  const asked = [...query.getAll('status[]'), ...query.getAll('status')];
  return asked.length === 0 ? ['active'] : asked;
};

/** Answers what an operator sets up and reads in Lago; undefined when the route is none of these. */
export function answerCatalog(call: SandboxCall, catalog: LagoCatalog, events: Stored[]): (() => void) | undefined {
  const { method, query, json } = call;
  const [resource = '', rawId, sub, rawSubId] = call.path.slice('/api/v1/'.length).split('/');
  const id = rawId === undefined ? undefined : decodeURIComponent(rawId);
  const bodyOf = (name: string) => ((json as Body | undefined)?.[name] ?? {}) as Body;
  const route = `${method} ${resource}${id === undefined ? '' : '/:id'}${sub === undefined ? '' : `/${sub}`}`;
  const missing = (code: string) => () => sendNotFound(call, code);

  if (resource === 'organizations' && method === 'GET') {
    const store = catalog.profile === 'clickhouse' ? { events_store: 'clickhouse' } : {};
    return () => sendJson(call.res, 200, { organization: { lago_id: organizationId, name: 'Sandbox', ...store } });
  }
  if (route === 'POST events/:id' && id === 'estimate_fees')
    return () => answerEstimate(call, catalog, bodyOf('event'));

  if (resource === 'billable_metrics') {
    const metric = catalog.metrics.find(({ code }) => code === id);
    if (route === 'GET billable_metrics') return () => sendPage(call, 'billable_metrics', catalog.metrics);
    if (route === 'POST billable_metrics') {
      return () => send(call, 'billable_metric', createMetric(catalog, bodyOf('billable_metric')));
    }
    if (metric === undefined) return missing('billable_metric_not_found');
    if (method === 'PUT') {
      return () => send(call, 'billable_metric', updateMetric(catalog, metric, bodyOf('billable_metric')));
    }
    return () => send(call, 'billable_metric', metric);
  }

  if (resource === 'plans') {
    const plan = catalog.plans.find(({ code }) => code === id);
    if (route === 'GET plans') return () => sendPage(call, 'plans', catalog.plans);
    if (route === 'POST plans') return () => send(call, 'plan', writePlan(catalog, bodyOf('plan')));
    if (plan === undefined) return missing('plan_not_found');
    if (sub === undefined) {
      return () => send(call, 'plan', method === 'PUT' ? writePlan(catalog, bodyOf('plan'), plan) : plan);
    }
    // Charges have routes of their own since 1.39.
    if (sub !== 'charges' || !['1.39', 'clickhouse'].includes(catalog.profile)) return undefined;
    const code = rawSubId === undefined ? undefined : decodeURIComponent(rawSubId);
    const charge = plan.charges.find((item) => item.code === code);
    if (method === 'GET' && code === undefined) return () => sendPage(call, 'charges', plan.charges);
    if (method === 'POST') return () => writeCharge(plan.charges, toCharge(catalog, bodyOf('charge')));
    if (charge === undefined) return missing('charge_not_found');
    if (method === 'GET') return () => send(call, 'charge', charge);
    return () => writeCharge(plan.charges, toCharge(catalog, bodyOf('charge'), charge));
  }

  function writeCharge(charges: Charge[], written: Charge | Refusal) {
    if (!isRefusal(written)) {
      const at = charges.findIndex(({ lago_id: lagoId }) => lagoId === written.lago_id);
      if (at === -1 && charges.some(({ code }) => code === written.code)) {
        return sendRefused(call, { code: ['value_already_exist'] });
      }
      charges.splice(at === -1 ? charges.length : at, at === -1 ? 0 : 1, written);
    }
    return send(call, 'charge', written);
  }

  if (resource === 'customers') {
    const customer = catalog.customers.find((item) => item.external_id === id);
    if (route === 'GET customers') return () => sendPage(call, 'customers', catalog.customers);
    if (route === 'POST customers') return () => send(call, 'customer', writeCustomer(catalog, bodyOf('customer')));
    if (customer === undefined) return missing('customer_not_found');
    if (sub === 'current_usage') return () => answerCurrentUsage(call, catalog, events, customer);
    return sub === undefined ? () => send(call, 'customer', customer) : undefined;
  }

  if (resource === 'subscriptions') {
    if (route === 'POST subscriptions') {
      return () => send(call, 'subscription', writeSubscription(catalog, bodyOf('subscription')));
    }
    const statuses = statusesOf(call);
    const listed = catalog.subscriptions.filter((item) => statuses.includes(item.status));
    if (route === 'GET subscriptions') {
      const isAsked = (item: Subscription) =>
        item.external_customer_id === (query.get('external_customer_id') ?? item.external_customer_id) &&
        item.plan_code === (query.get('plan_code') ?? item.plan_code);
      return () => sendPage(call, 'subscriptions', listed.filter(isAsked));
    }
    const subscription = listed.find((item) => item.external_id === id);
    if (subscription === undefined) return missing('subscription_not_found');
    if (method !== 'DELETE') return () => send(call, 'subscription', subscription);
    return () => {
      subscription.status = 'terminated';
      subscription.terminated_at = catalog.now().toISOString();
      send(call, 'subscription', subscription);
    };
  }
  return undefined;
}

export const organizationId = '1a901a90-1a90-4a90-8a90-1a901a901a90';
