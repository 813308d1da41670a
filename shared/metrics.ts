/** The Content-Type of `render()`: Prometheus' text exposition format. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

export interface Counter {
  /** Adds `amount` (>= 0) to the series of these label values, given in the order of the metric's label names. */
  add(amount: number, ...labels: string[]): void;
  /** The same series each time, for who keeps it: looking for it costs more than counting. */
  at(...labels: string[]): { add(amount: number): void };
}

export interface Gauge {
  set(value: number, ...labels: string[]): void;
  /** Forgets every series, for a gauge that is set anew from a report. */
  clear(): void;
}

export interface Histogram {
  observe(value: number, ...labels: string[]): void;
  at(...labels: string[]): { observe(value: number): void };
}

export interface Metrics {
  counter(name: string, help: string, labelNames?: string[]): Counter;
  gauge(name: string, help: string, labelNames?: string[]): Gauge;
  /** `bounds` are the buckets' upper bounds, inclusive and ascending; `+Inf` is added. */
  histogram(name: string, help: string, bounds: readonly number[], labelNames?: string[]): Histogram;
  /** Every metric, as Prometheus reads it; `# HELP` and `# TYPE` stand there before the first series too. */
  render(): string;
}

const escapeLabel = (value: string) => value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
const escapeHelp = (value: string) => value.replace(/[\\\n]/g, (c) => (c === '\n' ? '\\n' : '\\\\'));

/** Series by label values. Past `maxSeries` a new one is folded into `other`, so that a caller cannot fill our memory. */
function createFamily<Value>(labelNames: string[], maxSeries: number, start: () => Value) {
  const series = new Map<string, { text: string; value: Value }>();
  // By hand: Array's join is four times as slow, and a call is counted half a dozen times.
  const keyOf = (labels: string[]) => {
    let key = labels[0] ?? '';
    for (let at = 1; at < labels.length; at += 1) key += `\u001f${labels[at]}`;
    return key;
  };
  return {
    series,
    at(labels: string[]) {
      let key = keyOf(labels);
      let found = series.get(key);
      if (found !== undefined) return found;
      let values = labels;
      if (series.size >= maxSeries && labelNames.length > 0) {
        values = labelNames.map(() => 'other');
        key = keyOf(values);
        found = series.get(key);
      }
      if (found === undefined) {
        const text = labelNames.map((name, at) => `${name}="${escapeLabel(values[at] ?? '')}"`).join(',');
        found = { text, value: start() };
        series.set(key, found);
      }
      return found;
    },
  };
}

const line = (name: string, labels: string, value: number) =>
  `${name}${labels === '' ? '' : `{${labels}}`} ${Number.isFinite(value) ? value : value > 0 ? '+Inf' : 'NaN'}\n`;

/**
 * A registry of Prometheus metrics. Ours, since prom-client has had no release since 2024 and this is a page:
 * positional labels (no object per call on a hot path) and a cap of `maxSeries` series a metric, 1000 by default.
 * Throws for a name that is taken.
 */
export function createMetrics({ maxSeries = 1000 }: { maxSeries?: number } = {}): Metrics {
  const renderers = new Map<string, () => string>();

  function register(name: string, type: string, help: string, body: () => string) {
    if (renderers.has(name)) throw new Error(`the metric ${name} is registered twice`);
    renderers.set(name, () => `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${body()}`);
  }

  function scalar(name: string, type: string, help: string, labelNames: string[]) {
    const family = createFamily(labelNames, maxSeries, () => ({ number: 0 }));
    if (labelNames.length === 0 && type === 'counter') family.at([]);
    register(name, type, help, () =>
      [...family.series.values()].map(({ text, value }) => line(name, text, value.number)).join(''),
    );
    return family;
  }

  return {
    counter(name, help, labelNames = []) {
      const family = scalar(name, 'counter', help, labelNames);
      const at = (...labels: string[]) => {
        const { value } = family.at(labels);
        return {
          add(amount: number) {
            value.number += amount;
          },
        };
      };
      return { at, add: (amount, ...labels) => at(...labels).add(amount) };
    },
    gauge(name, help, labelNames = []) {
      const family = scalar(name, 'gauge', help, labelNames);
      return {
        set(value, ...labels) {
          family.at(labels).value.number = value;
        },
        clear: () => family.series.clear(),
      };
    },
    histogram(name, help, bounds, labelNames = []) {
      const family = createFamily(labelNames, maxSeries, () => ({
        counts: new Array<number>(bounds.length + 1).fill(0),
        sum: 0,
      }));
      register(name, 'histogram', help, () => {
        let out = '';
        for (const { text, value } of family.series.values()) {
          const prefix = text === '' ? '' : `${text},`;
          let below = 0;
          value.counts.forEach((count, at) => {
            below += count;
            out += line(`${name}_bucket`, `${prefix}le="${bounds[at] ?? '+Inf'}"`, below);
          });
          out += line(`${name}_sum`, text, value.sum) + line(`${name}_count`, text, below);
        }
        return out;
      });
      const at = (...labels: string[]) => {
        const { value } = family.at(labels);
        return {
          observe(observed: number) {
            let index = 0;
            while (index < bounds.length && observed > (bounds[index] as number)) index += 1;
            value.counts[index] = (value.counts[index] as number) + 1;
            value.sum += observed;
          },
        };
      };
      return { at, observe: (observed, ...labels) => at(...labels).observe(observed) };
    },
    render: () => [...renderers.values()].map((render) => render()).join(''),
  };
}
