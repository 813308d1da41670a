/**
 * The answer when no model gives one: characters (code points, counted from 0) at an even index in lower case, at an odd
 * one in upper case. `Hello World` becomes `hElLo wOrLd`.
 */
export function alterPrompt(prompt: string): string {
  return Array.from(prompt, (character, index) =>
    index % 2 === 0 ? character.toLowerCase() : character.toUpperCase(),
  ).join('');
}
