import { toIso } from '#shared/iso.ts';
import type { PicoUsd } from '#shared/money.ts';
import type { AttemptFacts, AttemptFailure, CallFacts, CallObserver, Outcome } from '../road/observer.ts';
import { isCompressed, type StreamForm, streamFormOf } from '../road/stream-end.ts';
import { costOf, findPrice, type Prices, toCostUsd } from '../usage/prices.ts';
import { createUsageScan, type Told, type UsageScan } from '../usage/scan.ts';
import { answerBytes, type ContentRule, keepText, overlapBytes, readStreamText } from './content.ts';
import { type CallRecord, type CallUnderWay, type FailedAttempt, nextSerial, type Running } from './record.ts';
import { plainJson } from './redact.ts';
import type { Place, UnderWay } from './under-way.ts';

/** `cost` is the record's, as the number that it was counted in. */
export type Sink = (record: CallRecord, cost: PicoUsd | undefined, facts: CallFacts) => void;

/** What every call is recorded with. */
export interface RecorderParts {
  prices: Prices;
  /** Told of each call after it has ended. */
  sinks: readonly Sink[];
  /** Absent: neither prompts nor answers are kept. */
  content?: ContentRule | undefined;
  /** Holds each call from its beginning to its end. */
  running: UnderWay<Running>;
  /** ms since 1970. */
  now: () => number;
  /** For durations. */
  clock: () => number;
}

const maxFailures = 20;
const noFailures: FailedAttempt[] = [];

/** Anthropic's own messages count the cached parts beside the input; every other form counts them within. */
const providerOf = ({ dialect }: CallFacts, attempt: AttemptFacts | undefined) => {
  if (dialect === 'anthropic' || dialect === 'ollama') return dialect;
  const kind = attempt?.backend.kind;
  return kind === 'ollama' ? 'ollama' : 'openai';
};

/** Follows one call, and makes its record after its end. It looks at chunks and keeps none. */
export class CallRecorder implements CallObserver, Running {
  readonly #facts: CallFacts;
  readonly #parts: RecorderParts;
  readonly #startedAt: number;
  readonly #startedClock: number;
  #attempts = 0;
  #failures = noFailures;
  #attempt: AttemptFacts | undefined;
  #scan: UsageScan | undefined;
  #form: StreamForm | undefined;
  #litellmCallId: string | null = null;
  #firstByteMs: number | null = null;
  #chunks = 0;
  #bytes = 0;
  readonly #prompt: Buffer | undefined;
  readonly #answer: Buffer[] | undefined;
  readonly #place: Place<Running>;
  readonly #onEnded: (call: CallRecorder) => void;
  #outcome: Outcome = 'ok';
  #status = 0;
  #endedAt = 0;
  #durationMs = 0;

  constructor(
    facts: CallFacts,
    parts: RecorderParts,
    requestBody: Buffer | undefined,
    onEnded: (call: CallRecorder) => void,
  ) {
    this.#facts = facts;
    this.#onEnded = onEnded;
    if (parts.content !== undefined) {
      // A copy of the beginning: a slice would hold the whole body in memory.
      this.#prompt = Buffer.from(requestBody?.subarray(0, parts.content.maxBytes + overlapBytes) ?? '');
      this.#answer = [];
    }
    this.#parts = parts;
    this.#startedAt = parts.now();
    this.#startedClock = parts.clock();
    this.#place = parts.running.add(this);
  }

  get caller(): string {
    return this.#facts.caller.name;
  }

  describe(): CallUnderWay {
    const { callId, caller, path, stream, requestedModel = '' } = this.#facts;
    return {
      id: callId,
      started_at: new Date(this.#startedAt).toISOString(),
      caller: caller.name,
      model: requestedModel,
      path,
      stream,
      backend: this.#attempt?.backend.name ?? null,
      attempts: this.#attempts,
      failed_attempts: this.#failures.length,
      first_byte_ms: this.#firstByteMs,
      chunks: this.#chunks,
      answer_bytes: this.#bytes,
    };
  }

  attemptStarted(attempt: AttemptFacts): void {
    this.#attempt = attempt;
    this.#attempts += 1;
  }

  attemptFailed({ backend }: AttemptFacts, { failure, status }: AttemptFailure): void {
    if (this.#failures.length < maxFailures)
      this.#failures = [...this.#failures, { backend: backend.name, failure, status: status ?? null }];
  }

  answered(attempt: AttemptFacts, status: number, rawHeaders: readonly string[]): void {
    this.#attempt = attempt;
    let type: string | undefined;
    let encoding: string | undefined;
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index]!;
      // Lengths first: a call has a dozen fields, and three of them are looked for.
      if (name.length === 12 && name.toLowerCase() === 'content-type') type = rawHeaders[index + 1];
      else if (name.length === 16 && name.toLowerCase() === 'content-encoding') encoding = rawHeaders[index + 1];
      else if (name.length === 17 && name.toLowerCase() === 'x-litellm-call-id') {
        this.#litellmCallId = rawHeaders[index + 1] ?? null;
      }
    }
    // What is compressed is not looked into, and an error has used nothing.
    if (status >= 300 || isCompressed(encoding)) return;
    this.#form = streamFormOf(type, encoding);
    const form = this.#form ?? (type === undefined || /json|^text\/plain/i.test(type) ? 'body' : undefined);
    if (form !== undefined) this.#scan = createUsageScan(this.#facts.dialect, form);
  }

  firstByte(): void {
    this.#firstByteMs = Math.round(this.#parts.clock() - this.#startedClock);
  }

  chunk(chunk: Buffer): void {
    this.#chunks += 1;
    if (this.#answer !== undefined && this.#bytes < answerBytes(this.#parts.content!, this.#form !== undefined))
      this.#answer.push(Buffer.from(chunk));
    this.#bytes += chunk.length;
    this.#scan?.note(chunk);
  }

  ended(outcome: Outcome, status: number): void {
    const { now, clock } = this.#parts;
    this.#place.leave();
    this.#outcome = outcome;
    this.#status = status;
    this.#endedAt = now();
    this.#durationMs = Math.round(clock() - this.#startedClock);
    this.#onEnded(this);
  }

  #toAnswerText(): string {
    const raw = Buffer.concat(this.#answer!).toString('utf8');
    return this.#form === undefined ? plainJson(raw) : readStreamText(this.#facts.dialect, this.#form, raw);
  }

  /** Tells the sinks of the call that has ended. */
  record(): void {
    const { prices, sinks } = this.#parts;
    const facts = this.#facts;
    const told = this.#scan?.end();
    const provider = providerOf(facts, this.#attempt);
    const asked = this.#attempt?.model;
    const requested = facts.requestedModel ?? '';
    const model = told?.model ?? asked ?? requested;
    const cost =
      told?.tokens === undefined
        ? undefined
        : costOf(told.tokens, findPrice(prices, model, asked, requested), provider === 'anthropic');
    const record = this.#toRecord(told, provider, model, cost);
    for (const sink of sinks) sink(record, cost, facts);
  }

  #toRecord(told: Told | undefined, provider: string, model: string, cost: PicoUsd | undefined): CallRecord {
    const facts = this.#facts;
    const backend = this.#attempt?.backend;
    const outcome = this.#outcome;
    const record: CallRecord = {
      id: facts.callId,
      upstream_id: told?.id ?? null,
      litellm_call_id: this.#litellmCallId,
      billed_by: backend?.billedBy ?? (this.#litellmCallId === null ? null : 'litellm'),
      started_at: toIso(this.#startedAt),
      ended_at: toIso(this.#endedAt),
      caller: facts.caller.name,
      end_user: facts.endUser ?? null,
      model,
      requested_model: facts.requestedModel ?? '',
      backend: backend?.name ?? '',
      provider,
      status: this.#status,
      // An error inside a stream of status 200 is none of the road's business, but it is how the call ended.
      outcome: outcome === 'ok' && told?.isFailed === true ? 'upstream_error' : outcome,
      tokens: told?.tokens ?? {},
      usage_source: told?.tokens === undefined ? 'absent' : 'upstream',
      cost_usd: toCostUsd(cost),
      serial: nextSerial(),
      trace_id: facts.trace?.traceId ?? null,
      method: facts.method,
      path: facts.path,
      stream: facts.stream,
      attempts: this.#attempts,
      failed_attempts: this.#failures,
      first_byte_ms: this.#firstByteMs,
      duration_ms: this.#durationMs,
      chunks: this.#chunks,
      answer_bytes: this.#bytes,
      finish_reason: told?.finishReason ?? null,
    };
    if (this.#answer !== undefined) {
      const { content } = this.#parts;
      record.prompt = keepText(plainJson(this.#prompt!.toString('utf8')), content!);
      record.completion = keepText(this.#toAnswerText(), content!);
    }
    return record;
  }
}
