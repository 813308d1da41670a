import { describe, expect, it } from 'vitest';
import { equalSecrets, findCaller } from '#shared/auth/keys.ts';

describe('findCaller', () => {
  const long = 'k'.repeat(600);
  const lines = `a:first\nb:second:with:colons\nlong:${long}\numlaut:schlüssel\nroom:${'r'.repeat(512)}`;

  it.each([
    ['first', 'a'],
    ['second:with:colons', 'b'],
    [long, 'long'],
    ['schlüssel', 'umlaut'],
    ['r'.repeat(512), 'room'],
  ])('finds the caller of a key of any length: %#', (key, name) => {
    expect(findCaller(lines, key)).toBe(name);
  });

  it.each([
    'firs',
    'first ',
    'first\0',
    'first\0\0',
    '',
    `${long}k`,
    `${'k'.repeat(599)}x`,
    'k'.repeat(512),
    'schlussel',
    'r'.repeat(511),
    'r'.repeat(513),
    `${'r'.repeat(511)}\0`,
  ])('takes nothing that is only like one: %#', (key) => {
    expect(findCaller(lines, key)).toBeUndefined();
  });

  it('follows the secret when it is rotated, and remembers nothing of the call before', () => {
    expect(findCaller('a:one-that-is-long', 'one-that-is-long')).toBe('a');
    expect(findCaller('a:two', 'two')).toBe('a');
    expect(findCaller('a:two', 'one-that-is-long')).toBeUndefined();
    expect(findCaller('a:two', 'two-that-is-long')).toBeUndefined();
  });
});

it('compares two secrets of any length', () => {
  expect([equalSecrets('a', 'a'), equalSecrets('a', 'ab'), equalSecrets('', '')]).toEqual([true, false, true]);
});
