import { describe, expect, it } from 'vitest';
import { createMetrics } from '#shared/metrics.ts';

describe('metrics', () => {
  it('counts by label values and renders what Prometheus reads', () => {
    const metrics = createMetrics();
    const calls = metrics.counter('calls_total', 'Calls\nanswered.', ['model', 'status']);
    calls.add(1, 'a"b\\c\nd', '200');
    calls.add(2, 'a"b\\c\nd', '200');
    calls.add(1, 'x', '500');
    expect(metrics.render()).toBe(
      '# HELP calls_total Calls\\nanswered.\n# TYPE calls_total counter\n' +
        'calls_total{model="a\\"b\\\\c\\nd",status="200"} 3\ncalls_total{model="x",status="500"} 1\n',
    );
  });

  it('shows a counter without labels as 0 before the first call', () => {
    const metrics = createMetrics();
    metrics.counter('lost_total', 'Lost.');
    expect(metrics.render()).toContain('\nlost_total 0\n');
  });

  it('sets and clears gauges', () => {
    const metrics = createMetrics();
    const spend = metrics.gauge('spend', 'Spend.', ['model']);
    spend.set(0.1, 'a');
    spend.clear();
    spend.set(2.5, 'b');
    expect(metrics.render().split('\n').slice(2)).toEqual(['spend{model="b"} 2.5', '']);
  });

  it('puts a value on a bound into that bucket, and counts cumulatively', () => {
    const metrics = createMetrics();
    const seconds = metrics.histogram('seconds', 'Seconds.', [0.5, 1], ['model']);
    for (const value of [0.5, 0.6, 1, 7]) seconds.observe(value, 'm');
    expect(metrics.render().split('\n').slice(2, -1)).toEqual([
      'seconds_bucket{model="m",le="0.5"} 1',
      'seconds_bucket{model="m",le="1"} 3',
      'seconds_bucket{model="m",le="+Inf"} 4',
      'seconds_sum{model="m"} 9.1',
      'seconds_count{model="m"} 4',
    ]);
  });

  it('folds series past the cap into other, and loses nothing', () => {
    const metrics = createMetrics({ maxSeries: 2 });
    const calls = metrics.counter('calls_total', 'Calls.', ['model']);
    for (const model of ['a', 'b', 'c', 'd', 'a']) calls.add(1, model);
    expect(metrics.render().split('\n').slice(2, -1)).toEqual([
      'calls_total{model="a"} 2',
      'calls_total{model="b"} 1',
      'calls_total{model="other"} 2',
    ]);
  });

  it('counts in a series that is kept as in one that is looked for each time', () => {
    const metrics = createMetrics({ maxSeries: 2 });
    const calls = metrics.counter('calls_total', 'Calls.', ['model']);
    const seconds = metrics.histogram('seconds', 'Seconds.', [1], ['model']);
    const kept = calls.at('a');
    calls.add(1, 'b');
    const folded = calls.at('c');
    kept.add(2);
    folded.add(3);
    calls.add(1, 'a');
    seconds.at('a').observe(0.5);
    seconds.observe(2, 'a');
    const text = metrics.render();
    expect(text).toContain('calls_total{model="a"} 3\ncalls_total{model="b"} 1\ncalls_total{model="other"} 3\n');
    expect(text).toContain('seconds_bucket{model="a",le="1"} 1\nseconds_bucket{model="a",le="+Inf"} 2\n');
  });

  it('refuses a name that is taken', () => {
    const metrics = createMetrics();
    metrics.counter('a', 'A.');
    expect(() => metrics.gauge('a', 'A.')).toThrow('registered twice');
  });
});
