import type { Authenticate, Caller } from '#shared/auth/authenticate.ts';
import { HttpError } from '#shared/errors.ts';

const visitor = 'visitor';

/** A visitor has no key: only labelled services, and not too often. */
export const isVisitor = ({ name, method }: Caller) => method === 'none' && name === visitor;

/**
 * Lets visitors without a key to /wake where that is allowed. What else they send is for the service that they wanted,
 * their credentials too, so a refusal never asks their browser for a password.
 */
export function admitVisitors(authenticate: Authenticate, publicWake: boolean): Authenticate {
  return async (call) => {
    if (call.path.replace(/\/+$/, '') !== '/wake') return authenticate(call);
    try {
      return await authenticate(call);
    } catch (error) {
      if (!(error instanceof HttpError) || error.status !== 401) throw error;
      if (publicWake) return { name: visitor, method: 'none' };
      throw new HttpError(401, error.message, { code: error.code });
    }
  };
}
