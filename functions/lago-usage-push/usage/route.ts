import type { LagoCustomersClient } from '#shared/clients/lago-customers.ts';
import type { LagoPlansClient } from '#shared/clients/lago-plans.ts';
import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { readUsage } from './usage.ts';

/** `GET /usage?customer=ID`: what the customer used in the open period and what the next invoice will ask for. */
export const createUsageRoute =
  (lago: { customers: LagoCustomersClient; plans: LagoPlansClient }): FunctionHandler =>
  async (event, { signal }) => {
    const customer = event.query.get('customer')?.trim() ?? '';
    if (customer === '') {
      throw new HttpError(400, "Say whose usage: ?customer=<Lago's external customer id>", { code: 'bad_parameter' });
    }
    const usage = await readUsage(lago, customer, signal);
    if (usage !== undefined) return json(200, usage);
    throw new HttpError(404, 'Lago knows no customer of this external id', { code: 'customer_not_found' });
  };
