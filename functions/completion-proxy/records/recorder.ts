import type { Observe } from '../road/observer.ts';
import { CallRecorder, type RecorderParts } from './call-recorder.ts';

export interface RecorderOptions extends RecorderParts {
  /** A call whose record could not be made, or that a sink did not take. */
  onError: (error: unknown) => void;
}

export interface Recorder {
  /** Watches every call of a model: each yields one record, told to the sinks. */
  observe: Observe;
  /** Records the calls that have ended, now. */
  drain(): void;
}

/**
 * Calls are recorded together when the turn of the event loop in which they ended is over: nobody waits for it, since their
 * answers are on their way by then.
 */
export function createRecorder(parts: RecorderOptions): Recorder {
  let ended: CallRecorder[] = [];
  function drain() {
    const calls = ended;
    ended = [];
    for (const call of calls) {
      try {
        call.record();
      } catch (error) {
        parts.onError(error);
      }
    }
  }
  const onEnded = (call: CallRecorder) => {
    if (ended.length === 0) setImmediate(drain);
    ended.push(call);
  };
  return {
    observe: (facts, requestBody) => (facts.isLlm ? new CallRecorder(facts, parts, requestBody, onEnded) : undefined),
    drain,
  };
}
