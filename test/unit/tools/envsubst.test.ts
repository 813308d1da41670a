// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax under test
import { describe, expect, it } from 'vitest';
import { envsubst } from '../../../tools/stack/envsubst.ts';

const variables = { NAME: 'Hello', EMPTY: '', PATH_: 'a/b/a', FILE: 'image.tar.gz' };

describe('envsubst', () => {
  it.each([
    ['${NAME}', 'Hello'],
    ['${NAME:-other}', 'Hello'],
    ['${NOPE:-other}', 'other'],
    ['${NOPE=other}', 'other'],
    ['${NOPE:=other}', 'other'],
    ['${EMPTY:-other}', 'other'],
    ['${EMPTY=other}', 'other'],
    ['${NOPE:?a message}', 'a message'],
    ['${NOPE:+set}', 'set'],
    ['${NAME:+set}', 'Hello'],
    ['${NAME^^}', 'HELLO'],
    ['${NAME,,}', 'hello'],
    ['${NAME,}', 'hello'],
    ['${NAME:1:3}', 'ell'],
    ['${NAME:2}', 'llo'],
    ['${#NAME}', '5'],
    ['${NAME#He}', 'llo'],
    ['${NAME#lo}', 'Hello'],
    ['${NAME%lo}', 'Hel'],
    ['${FILE%.*}', 'image.tar'],
    ['${FILE%%.*}', 'image'],
    ['${FILE#*.}', 'tar.gz'],
    ['${FILE##*.}', 'gz'],
    ['${NAME/l/L}', 'HeLlo'],
    ['${NAME//l/L}', 'HeLLo'],
    ['${NAME/#He/he}', 'hello'],
    ['${NAME/%lo/p!}', 'Help!'],
    ['${NAME/l/$&}', 'He$&lo'],
    ['${NOPE:-http://127.0.0.1:8080}', 'http://127.0.0.1:8080'],
    ['${NOPE:-${NAME}/x}', 'Hello/x'],
    ['${NOPE:-}', ''],
    ['${NOPE}', ''],
  ])('makes %s into %s', (text, expected) => {
    expect(envsubst(text, variables)).toBe(expected);
  });

  it('leaves a variable without braces, and a single dollar, as they are', () => {
    expect(envsubst('cost $NAME $ 5$', variables)).toBe('cost $NAME $ 5$');
  });

  it('makes two dollars one, so that a brace can be written', () => {
    expect(envsubst('$${NAME}', variables)).toBe('${NAME}');
  });

  it('takes the first backslash from a double one and from one before a slash', () => {
    expect(envsubst('a\\\\b \\/ \\n', variables)).toBe('a\\b / \\n');
  });

  it('replaces in comments too, as the text is not YAML yet', () => {
    expect(envsubst('# ${NAME}\nkey: ${EMPTY}\n', variables)).toBe('# Hello\nkey: \n');
  });

  it('refuses a brace that never closes, with its line', () => {
    expect(() => envsubst('one\ntwo: ${NAME\n', variables)).toThrow('line 2: "${" is never closed');
  });

  it('refuses what is no substitution', () => {
    expect(() => envsubst('${1NAME}', variables)).toThrow('"${1NAME}" is no substitution');
    expect(() => envsubst('${NAME@Q}', variables)).toThrow('"${NAME@Q}" is no substitution');
  });
});
