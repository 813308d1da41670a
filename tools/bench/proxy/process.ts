import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Of a process on Linux: a tick of the kernel's clock, from which /proc counts CPU time. */
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Milliseconds of CPU, user and system, of every thread, since the process began. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold spaces; utime and stime are the 14th and 15th field of the whole.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

function kibOf(pid: number, name: string): number {
  const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN);
}

export const residentMib = (pid: number) => kibOf(pid, 'VmRSS') / 1024;
/** The highest that its resident memory ever was. */
export const peakMib = (pid: number) => kibOf(pid, 'VmHWM') / 1024;
