import { describe, expect, it } from 'vitest';
import { createProxyMetrics } from '../../../functions/completion-proxy/metrics/metrics.ts';
import { makeRecord } from '../../support/call-record.ts';

describe('the names of models in metrics', () => {
  it('are few where nobody answered, so that a caller who makes them up hides nothing of the others', () => {
    const metrics = createProxyMetrics([]);
    for (let id = 0; id < 3_000; id += 1) {
      const model = `made-up-${id}`;
      metrics.count(makeRecord(`r${id}`, { model, requested_model: model, outcome: 'refused', status: 404 }));
    }
    metrics.count(makeRecord('late', { model: 'gpt-4o', requested_model: 'gpt-4o', caller: 'alice' }));
    metrics.count(makeRecord('failed', { model: 'gpt-4o', requested_model: 'gpt-4o', caller: 'alice', status: 500 }));
    const text = metrics.render();
    expect(text).toContain(
      'completion_proxy_requests_total{backend="b",model="gpt-4o",caller="alice",status="200",outcome="ok"} 1\n',
    );
    expect(text).toContain('model="gpt-4o",caller="alice",status="500"');
    expect(text).toContain('completion_proxy_cost_usd_total{backend="b",model="gpt-4o",caller="alice"}');
    expect(text).toContain('model="other",caller="tests",status="404",outcome="refused"} 2950\n');
    expect(text).toContain('gen_ai_request_model="gpt-4o",gen_ai_token_type="input"');
    expect(text).not.toContain('backend="other"');
  });

  it('are capped also where they were answered, and where they are long', () => {
    const metrics = createProxyMetrics([]);
    const count = (model: string) => metrics.count(makeRecord('r', { model, requested_model: model }));
    count('m'.repeat(201));
    for (let id = 0; id < 301; id += 1) count(`m-${id}`);
    const text = metrics.render();
    expect(text.match(/completion_proxy_requests_total\{/g)).toHaveLength(301);
    expect(text).toContain(
      'completion_proxy_requests_total{backend="b",model="other",caller="tests",status="200",outcome="ok"} 2\n',
    );
  });
});
