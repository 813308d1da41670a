import { createHash } from 'node:crypto';
import type { FunctionResponse } from './function.ts';

/** Markup that is safe to stand in a page as it is. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

export type HtmlValue = string | number | Markup | null | undefined | false | HtmlValue[];

function render(value: HtmlValue): string {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(render).join('');
  return value === null || value === undefined || value === false ? '' : escapeHtml(String(value));
}

/** html`<b>${name}</b>`: values are escaped, also for quoted attributes; markup and lists of it stand as they are. */
export function html(parts: TemplateStringsArray, ...values: HtmlValue[]): Markup {
  return new Markup(parts.reduce((text, part, at) => text + render(values[at - 1]) + part));
}

/** Text of ours that is markup already: a style sheet, a script. Never for anything that came from outside. */
export const raw = (text: string) => new Markup(text);

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/**
 * A page of one file: its style and its script stand in it and are the only ones that its Content-Security-Policy lets
 * run (by hash), and it talks to its own origin alone. `head` and `body` come from `html`. Nobody may frame it.
 */
export function page(
  status: number,
  {
    title,
    style,
    script,
    head,
    body,
  }: { title: string; style: string; script?: string; head?: Markup | undefined; body: Markup },
  headers: Record<string, string> = {},
): FunctionResponse {
  const policy = [
    `default-src 'none'`,
    `style-src ${hashOf(style)}`,
    `img-src data:`,
    `connect-src 'self'`,
    `form-action 'self'`,
    `base-uri 'none'`,
    `frame-ancestors 'none'`,
    ...(script === undefined ? [] : [`script-src ${hashOf(script)}`]),
  ].join('; ');
  const text = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
${head}
<style>${raw(style)}</style>
</head>
<body>
${body}
${script === undefined ? '' : html`<script>${raw(script)}</script>`}
</body>
</html>
`.text;
  return {
    status,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'same-origin',
      'Cache-Control': 'no-store',
      ...headers,
    },
    body: text,
  };
}
