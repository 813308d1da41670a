import { type SandboxCall, sendJson } from '../server.ts';

/** Lago's own bodies for a refusal. */
export function sendNotFound({ res }: SandboxCall, code?: string) {
  sendJson(res, 404, { status: 404, error: 'Not Found', ...(code === undefined ? {} : { code }) });
}

export function sendRefused({ res }: SandboxCall, details: unknown) {
  const error = 'Unprocessable Entity';
  sendJson(res, 422, { status: 422, error, code: 'validation_errors', error_details: details });
}

/** One page of a list under its own name, with Lago's `meta`. */
export function sendPage({ query, res }: SandboxCall, name: string, items: unknown[]) {
  const limit = Number(query.get('per_page') ?? 100);
  const page = Number(query.get('page') ?? 1);
  const pages = Math.ceil(items.length / limit);
  sendJson(res, 200, {
    [name]: items.slice((page - 1) * limit, page * limit),
    meta: {
      current_page: page,
      next_page: page < pages ? page + 1 : null,
      prev_page: page > 1 ? page - 1 : null,
      total_pages: pages,
      total_count: items.length,
    },
  });
}
