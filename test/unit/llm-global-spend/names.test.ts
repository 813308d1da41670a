import { describe, expect, it } from 'vitest';
import type { KeyEntry } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import { createNames, type NameOverrides } from '../../../functions/llm-global-spend/names.ts';
import { createFakeLitellm } from '../../support/fake-litellm.ts';
import { createMemoryKv } from '../../support/memory-kv.ts';

const { signal } = new AbortController();
const key = (hash: string, alias: string): KeyEntry => ({ hash, alias, userId: null, teamId: null });

/** Replicas of one function, over one store and one proxy whose keys a test changes. */
function open() {
  const world = {
    keys: [key('k1', 'nightly'), key('k2', 'chat')],
    now: 10_000_000,
    read: 0,
    failure: undefined as unknown,
  };
  const kv = createMemoryKv();
  const replica = (overrides: NameOverrides = {}) =>
    createNames({
      litellm: createFakeLitellm({
        async keys() {
          world.read += 1;
          if (world.failure !== undefined) throw world.failure;
          return world.keys;
        },
      }),
      kv,
      identity: () => 'proxy',
      overrides,
      now: () => world.now,
    });
  return { world, replica };
}

describe('a name', () => {
  it('stays when its key is deleted, also for a replica that starts afterwards', async () => {
    const { world, replica } = open();
    await replica().find('key', ['k1'], signal);
    world.keys = [];
    world.now += 2 * 3_600_000;
    expect(await replica().find('key', ['k1', 'k2', 'k3'], signal)).toEqual(
      new Map([
        ['k1', 'nightly'],
        ['k2', 'chat'],
        ['k3', 'k3'],
      ]),
    );
  });

  it('that one replica has learnt is not lost by what another one writes', async () => {
    const { world, replica } = open();
    const [first, second] = [replica(), replica()];
    await Promise.all([first.find('key', ['k1'], signal), second.find('key', ['k1'], signal)]);
    world.keys = [key('k3', 'briefly')];
    world.now += 61_000;
    expect((await first.find('key', ['k3'], signal)).get('k3')).toBe('briefly');
    world.keys = [key('k4', 'later')];
    world.now += 61_000;
    expect((await second.find('key', ['k4'], signal)).get('k4')).toBe('later');
    expect(await replica().find('key', ['k3', 'k4'], signal)).toEqual(
      new Map([
        ['k3', 'briefly'],
        ['k4', 'later'],
      ]),
    );
  });

  it('of SPEND_NAMES comes before all others, and what has none is shown by its id', async () => {
    const { replica } = open();
    const names = replica({ key: { k1: 'Batch' }, end_user: { acme: 'ACME Inc.' } });
    expect((await names.find('key', ['k1'], signal)).get('k1')).toBe('Batch');
    const ids = ['acme', 'constructor', '__proto__', ''];
    expect([...(await names.find('end_user', ids, signal)).values()]).toEqual([
      'ACME Inc.',
      'constructor',
      '__proto__',
      '(no end user)',
    ]);
    expect((await names.find('user', ['constructor'], signal)).get('constructor')).toBe('constructor');
  });

  it('that is not known yet is asked for once a minute at most', async () => {
    const { world, replica } = open();
    const names = replica();
    for (let call = 0; call < 3; call++) await names.find('key', ['new'], signal);
    expect(world.read).toBe(1);
    world.now += 61_000;
    world.keys.push(key('new', 'fresh'));
    expect((await names.find('key', ['new'], signal)).get('new')).toBe('fresh');
    expect(world.read).toBe(2);
  });

  it('that LiteLLM does not tell this key is no reason to fail', async () => {
    const { world, replica } = open();
    world.failure = new UpstreamError('LiteLLM', 'status', 'x', { status: 403 });
    expect((await replica().find('key', ['k1'], signal)).get('k1')).toBe('k1');
  });
});
