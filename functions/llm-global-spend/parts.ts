import { HttpError, UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';

const tooLate =
  'LiteLLM needed too long for this. Days that were read are remembered: load the page again, or ask for fewer days';

/** What parts of an answer may take, of the whole one's deadline: the rest is shown without the late ones. */
export const toPartsMs = (deadlineMs: number) => deadlineMs * 0.7;

/**
 * Reads what an answer can do without: resolves with the value, or with the sentence that says why there is none. Throws
 * when the caller is gone, and what is a fault of ours.
 */
export function createReadPart(signal: AbortSignal, partsMs: number) {
  const parts = AbortSignal.any([signal, AbortSignal.timeout(partsMs)]);
  return async <Value>(read: (signal: AbortSignal) => Promise<Value>): Promise<Value | string> => {
    try {
      return await read(parts);
    } catch (error) {
      if (signal.aborted) throw error;
      if (parts.aborted) return tooLate;
      if (error instanceof HttpError || error instanceof UpstreamError) return toProblem(error).message;
      throw error;
    }
  };
}
