import { readdirSync, readFileSync } from 'node:fs';

/** Milliseconds of CPU, user and system, of every thread, since the process began; exact, as /proc/PID/stat is not (10 ms). */
export function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  // The time on a CPU in ns stands first.
  const times = threads.map((id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ', 1)[0]));
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}

function kibOf(pid: number, name: string): number {
  const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN);
}

export const residentMib = (pid: number) => kibOf(pid, 'VmRSS') / 1024;
/** The highest that its resident memory ever was. */
export const peakMib = (pid: number) => kibOf(pid, 'VmHWM') / 1024;
