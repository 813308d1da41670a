import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { html, page, raw } from '#shared/http/html.ts';

describe('html', () => {
  it('escapes every value, in text and in quoted attributes', () => {
    expect(html`<a title="${`"'>`}">${'<script>&'}</a>`.text).toBe(
      '<a title="&quot;&#39;&gt;">&lt;script&gt;&amp;</a>',
    );
  });

  it('keeps markup of ours, lists included, and leaves out what is absent', () => {
    const rows = ['a', '<b>'].map((name) => html`<li>${name}</li>`);
    expect(html`<ul>${rows}${undefined}${null}${false}${0}</ul>${raw('<hr>')}`.text).toBe(
      '<ul><li>a</li><li>&lt;b&gt;</li>0</ul><hr>',
    );
  });

  it('lets only the style and the script of the page itself run', () => {
    const answer = page(200, { title: 'T<', style: 'b{}', script: 'run()', body: html`<b>x</b>` });
    const headers = answer.headers as Record<string, string>;
    const hash = (text: string) => createHash('sha256').update(text).digest('base64');
    expect(headers['Content-Security-Policy']).toContain(`style-src 'sha256-${hash('b{}')}'`);
    expect(headers['Content-Security-Policy']).toContain(`script-src 'sha256-${hash('run()')}'`);
    expect(answer.body).toContain('<style>b{}</style>');
    expect(answer.body).toContain('<script>run()</script>');
    expect(answer.body).toContain('<title>T&lt;</title>');
  });

  it('has no script policy but none without a script', () => {
    const answer = page(200, { title: 'T', style: '', body: html`` });
    expect((answer.headers as Record<string, string>)['Content-Security-Policy']).not.toContain('script-src');
  });
});
