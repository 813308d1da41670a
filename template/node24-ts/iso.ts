let second = Number.NaN;
let upToSecond = '';

/** `new Date(ms).toISOString()` for a whole number of ms; what stands before the milliseconds is made once a second. */
export function toIso(ms: number): string {
  const whole = Math.floor(ms / 1_000);
  if (whole !== second) {
    upToSecond = new Date(whole * 1_000).toISOString().slice(0, -4);
    second = whole;
  }
  return `${upToSecond}${String(ms - whole * 1_000).padStart(3, '0')}Z`;
}
