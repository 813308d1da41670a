import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkerConfig, settings } from '../../../../functions/completion-proxy/worker/config.ts';

const vast = {
  REPORT_ADDR: 'https://run.vast.ai/, https://other.example',
  CONTAINER_ID: '7',
  PUBLIC_IPADDR: '1.2.3.4',
  VAST_TCP_PORT_3000: '40000',
};

describe("the worker's settings", () => {
  it('need none of Vast for local development', () => {
    const config = readWorkerConfig({ VAST_WORKER: 'true' });
    expect([config.vast, config.keyAddresses, config.settings.BACKEND_URL]).toEqual([
      undefined,
      ['https://run.vast.ai'],
      'http://localhost:8000',
    ]);
  });

  it('make the address that the autoscaler gives out', () => {
    expect(readWorkerConfig(vast).vast).toEqual({
      addresses: ['https://run.vast.ai', 'https://other.example'],
      containerId: 7,
      url: 'http://1.2.3.4:40000',
    });
    expect(readWorkerConfig({ ...vast, USE_SSL: 'true' }).vast?.url).toBe('https://1.2.3.4:40000');
    const other = { ...vast, WORKER_PORT: '8080', VAST_TCP_PORT_8080: '41000' };
    expect(readWorkerConfig(other).vast?.url).toBe('http://1.2.3.4:41000');
  });

  it.each(Object.keys(vast))('name %s where it is missing', (name) => {
    expect(() => readWorkerConfig({ ...vast, [name]: '' })).toThrow(`${name}: is missing`);
  });

  it('name every bad one and show no value', () => {
    const bad = { VAST_SIGNATURE_FORM: 'sha1', WORKER_PORT: 'x-secret', UNSECURED: 'yes', HEALTHCHECK_ENDPOINT: 'h' };
    expect(() => readWorkerConfig(bad)).toThrow(/VAST_SIGNATURE_FORM[\s\S]*/);
    expect(() => readWorkerConfig(bad)).not.toThrow(/x-secret/);
    for (const name of Object.keys(bad)) expect(() => readWorkerConfig(bad)).toThrow(name);
    for (const address of ['ftp://x', 'https://user:pass@run.vast.ai']) {
      expect(() => readWorkerConfig({ ...vast, REPORT_ADDR: address })).toThrow('REPORT_ADDR');
    }
  });

  it("have the predecessors' names", () => {
    const old = {
      VESPA_BACKEND_URL: 'http://127.0.0.1:9',
      VESPA_BENCHMARK: 'benchmarks.openai_chat:benchmark',
      VESPA_BENCHMARK_CACHE_FILE: '/tmp/x',
      VESPA_HEALTHCHECK_ENDPOINT: '/h',
      VESPA_HEALTHCHECK_RETRY_INTERVAL: '1',
      VESPA_HEALTHCHECK_POLL_INTERVAL: '2',
      VESPA_HEALTHCHECK_TIMEOUT: '3',
      VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES: '4',
      VESPA_READY_TIMEOUT_INITIAL: '5',
      VESPA_READY_TIMEOUT_RESUME: '6',
      VESPA_ALLOW_PARALLEL: 'false',
      VESPA_MAX_WAIT_TIME: '7.5',
      VESPA_WORKER_PORT: '3001',
      VESPA_UNSECURED: 'true',
      VESPA_USE_SSL: 'false',
      VESPA_LOG_LEVEL: 'WARNING',
      VESPA_PUBKEY_TIMEOUT: '8',
      VESPA_METRICS_UPDATE_INTERVAL: '9',
      VESPA_DELETE_REQUESTS_INTERVAL: '10',
      VESPA_METRICS_RETRY_DELAY: '11',
      VESPA_METRICS_MAX_RETRIES: '12',
      VESPA_METRICS_TIMEOUT: '13',
      PYWORKER_MAX_CONCURRENCY: '14',
      PYWORKER_BLOCKED_PATHS: '/a*,/b',
      PYWORKER_DEFAULT_COST: '15',
    };
    expect(readWorkerConfig(old).settings).toMatchObject({
      BACKEND_URL: 'http://127.0.0.1:9',
      BENCHMARK: 'benchmarks.openai_chat:benchmark',
      BENCHMARK_CACHE_FILE: '/tmp/x',
      HEALTHCHECK_ENDPOINT: '/h',
      HEALTHCHECK_RETRY_INTERVAL: 1_000,
      HEALTHCHECK_POLL_INTERVAL: 2_000,
      HEALTHCHECK_TIMEOUT: 3_000,
      HEALTHCHECK_CONSECUTIVE_FAILURES: 4,
      READY_TIMEOUT: 5_000,
      READY_TIMEOUT_RESUME: 6_000,
      ALLOW_PARALLEL: false,
      MAX_WAIT_TIME: 7_500,
      WORKER_PORT: 3_001,
      UNSECURED: true,
      USE_SSL: false,
      LOG_LEVEL: 'warn',
      PUBKEY_TIMEOUT: 8_000,
      METRICS_UPDATE_INTERVAL: 9_000,
      DELETE_REQUESTS_INTERVAL: 10_000,
      METRICS_RETRY_DELAY: 11_000,
      METRICS_MAX_RETRIES: 12,
      METRICS_TIMEOUT: 13_000,
      MAX_CONCURRENCY: 14,
      BLOCKED_PATHS: ['/a*', '/b'],
      DEFAULT_COST: 15,
    });
    expect(readWorkerConfig({ VESPA_WORKER_PORT: '1', WORKER_PORT: '2' }).settings.WORKER_PORT).toBe(2);
    const other = { PYWORKER_BACKEND_URL: 'http://127.0.0.1:9', PYWORKER_ALLOW_PARALLEL: 'false' };
    expect(readWorkerConfig({ ...other, PYWORKER_DEFAULT_COST: '100.5' }).settings).toMatchObject({
      BACKEND_URL: 'http://127.0.0.1:9',
      ALLOW_PARALLEL: false,
      DEFAULT_COST: 100.5,
    });
  });
});

const documented = () => {
  const markdown = readFileSync(join(import.meta.dirname, '../../../../docs/vast.md'), 'utf8');
  const [, table = ''] = /^\| Variable \|.*\n\|[-| :]+\n((?:\|.*\n?)+)/m.exec(markdown) ?? [];
  return [...table.matchAll(/^\|\s*`([^`]+)`/gm)].map(([, name = '']) => name);
};

describe('docs/vast.md', () => {
  it('has a row for every variable of the worker, and for nothing else', () => {
    const special = ['VAST_TCP_PORT_<WORKER_PORT>'];
    expect(documented().toSorted()).toEqual([...Object.keys(settings.shape), ...special].toSorted());
  });
});
