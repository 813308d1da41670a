import { HttpError } from '#shared/errors.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import type { Routes } from './routes.ts';

/** Finds the route of a call; 404 and 405 say what there is. */
export function createHandler(routes: Routes): FunctionHandler {
  const shown = Object.entries(routes).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );

  return async (event, context) => {
    const methods = Object.hasOwn(routes, event.path) ? routes[event.path] : undefined;
    if (methods === undefined) {
      throw new HttpError(404, `There is no ${event.path} here, but ${shown.join(', ')}`, { code: 'not_found' });
    }
    const handle = Object.hasOwn(methods, event.method) ? methods[event.method as 'GET' | 'POST'] : undefined;
    if (handle === undefined) {
      const allowed = Object.keys(methods).join(', ');
      throw new HttpError(405, `${event.path} takes ${allowed}`, {
        code: 'method_not_allowed',
        headers: { Allow: allowed },
      });
    }
    return handle(event, context);
  };
}
