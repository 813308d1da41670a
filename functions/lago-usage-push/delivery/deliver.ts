import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import type { Logger } from '#shared/http/function.ts';
import { formatUsd } from '#shared/money.ts';
import { type BillingRules, decide } from '../billing/decide.ts';
import { type EventRules, toEvents } from '../billing/events.ts';
import { isClosed } from '../billing/period.ts';
import { type Call, spendOf } from '../calls/call.ts';
import type { Preflight } from '../preflight/preflight.ts';
import type { Report } from '../schedule/report.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { HeldCall } from './held.ts';
import type { Late } from './late.ts';
import type { createMemory } from './memory.ts';
import { type PushResult, pushEvents } from './push.ts';

export interface DeliverOptions {
  lago: LagoClient;
  rules: BillingRules;
  events: EventRules;
  memory: ReturnType<typeof createMemory>;
  deadLetters: DeadLetters;
  late: Late;
  /** Undefined: what Lago would silently drop is sent all the same. */
  preflight: Preflight | undefined;
  inFlight: number;
  now: () => number;
}

export interface DeliverContext {
  report: Report;
  log: Logger;
  /** Lago may have this call already, and we would not know. */
  isInDoubt: (call: Call) => boolean;
  /** Notes, before they are sent, whose fate a kill would leave open. */
  intend: (calls: Call[]) => Promise<void>;
  /** Of these it is known whether Lago has them. */
  conclude: (calls: Call[]) => void;
  /** These were held: the memory knows them, and they are decided on all the same. */
  isReplay?: boolean;
  /** Keeps what cannot be billed yet. */
  hold: (calls: HeldCall[]) => Promise<void>;
  signal?: AbortSignal | undefined;
}

interface Planned {
  call: Call;
  events: LagoEvent[];
}

export type Deliver = (calls: Call[], context: DeliverContext) => Promise<void>;

/**
 * Bills calls: each is afterwards in Lago, a dead letter, held, or nobody's debt, and remembered as such. Throws what
 * stopped it, after noting what was delivered; the same calls may then be delivered again.
 */
export function createDeliver(options: DeliverOptions): Deliver {
  const { lago, rules, memory, late, now } = options;

  /** The first thing for which Lago would not bill these. */
  async function look(events: LagoEvent[]) {
    if (options.preflight === undefined) return undefined;
    for (const event of events) {
      const finding = await options.preflight(event);
      if (finding !== undefined) return finding;
    }
    return undefined;
  }

  async function plan(calls: Call[], context: DeliverContext, known: (call: Call) => boolean) {
    const { report } = context;
    const planned: Planned[] = [];
    const lateCalls: { call: Call; subscription: string }[] = [];
    const held: HeldCall[] = [];
    const at = now();
    for (const call of calls) {
      if (!context.isReplay && known(call)) {
        report.skipped.done_before += 1;
        continue;
      }
      const decision = decide(call, rules, at);
      if (decision.kind === 'skip') report.skipped[decision.reason] += 1;
      else if (decision.kind === 'hold') held.push({ call, reason: decision.reason, id: decision.id });
      else {
        const { subscription, isLate } = decision;
        const events = toEvents(call, { subscription, billedAt: call.startedAt }, options.events);
        const [sample] = events ?? [];
        if (events === undefined) held.push({ call, reason: 'no_rate', id: subscription });
        else if (sample === undefined) report.skipped.no_usage += 1;
        else if (isLate) lateCalls.push({ call, subscription });
        else {
          const finding = await look(events);
          if (finding === undefined) planned.push({ call, events });
          else held.push({ call, reason: finding.reason, id: subscription });
        }
      }
    }
    return { planned, lateCalls, held };
  }

  /** Notes each call whose events all have a fate. */
  async function settle(planned: Planned[], result: PushResult, context: DeliverContext, done: (call: Call) => void) {
    const { report } = context;
    report.counts.sent += result.sent.size;
    report.counts.already_there += result.alreadyThere.size;
    report.unprocessed.push(...result.unprocessed);
    for (const { call, events } of planned) {
      for (const event of events) {
        const reason = result.rejected.get(event.transaction_id);
        if (reason === undefined) continue;
        const letter = {
          transaction_id: event.transaction_id,
          request_id: call.requestId,
          external_subscription_id: event.external_subscription_id,
          reason,
        };
        await options.deadLetters.add({ ...letter, event });
        report.addDead({ ...letter, cost_usd: formatUsd(spendOf(call)) });
      }
      const isSettled = events.every(
        ({ transaction_id: id }) => result.sent.has(id) || result.alreadyThere.has(id) || result.rejected.has(id),
      );
      if (isSettled) done(call);
    }
  }

  return async (given, context) => {
    const { report, signal } = context;
    const calls = [...new Map(given.map((call) => [call.id, call])).values()];
    report.skipped.done_before += given.length - calls.length;
    const remembered = await memory.recall(calls);
    const { planned, lateCalls, held } = await plan(calls, context, remembered.has);
    if (report.dryRun) {
      for (const { call, events } of planned) report.addWouldSend(call, events.length);
      for (const call of held) report.addHeld(call);
      for (const { call, subscription } of lateCalls) report.addHeld({ call, reason: 'late', id: subscription });
      return;
    }

    const shifted = await late.settle(lateCalls, { held, done: remembered.add, report, signal });
    const common = {
      lago,
      inFlight: options.inFlight,
      signal,
      mayStillSend: ({ timestamp }: LagoEvent) => !isClosed(Number(timestamp) * 1000, now(), rules.period),
    };
    const all = [...planned, ...shifted];
    const certain: Call[] = [];
    const done = (call: Call) => {
      remembered.add(call);
      certain.push(call);
    };
    let failure: unknown;
    const push = async (part: Planned[], isUncertain: boolean) => {
      if (part.length === 0 || failure !== undefined) return undefined;
      const events = part.flatMap((item) => item.events);
      const result = await pushEvents(events, { ...common, isUncertain });
      await settle(part, result, context, done);
      failure = result.failure;
      return result.tried;
    };
    if (all.length > 0 && (await lago.mustSendOnlyNew(signal))) {
      const oldest = memory.reachesBackTo();
      const isDoubtful = ({ call }: Planned) =>
        context.isReplay === true || context.isInDoubt(call) || call.startedAt < oldest;
      const [doubtful, fresh] = [all.filter(isDoubtful), all.filter((item) => !isDoubtful(item))];
      await context.intend(fresh.map(({ call }) => call));
      const tried = await push(fresh, false);
      // What a failure left unsent is as new as it was.
      const isUnsent = ({ events }: Planned) => !events.some(({ transaction_id: id }) => tried?.has(id));
      certain.push(...fresh.filter(isUnsent).map(({ call }) => call));
      await push(doubtful, true);
      context.conclude(certain);
    } else {
      await push(all, false);
    }
    await context.hold(held);
    for (const { call } of held) remembered.add(call);
    await remembered.save();
    if (failure !== undefined) throw failure;
  };
}
