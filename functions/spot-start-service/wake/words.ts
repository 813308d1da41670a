import type { ContainerState, Failure, ServiceState } from '../service.ts';

/** What the page is about: its colour, its picture, whether it looks again. */
export type Mood = 'asleep' | 'starting' | 'ready' | 'failed' | 'unknown' | 'busy';

export interface Row {
  name: string;
  tone: 'good' | 'busy' | 'bad' | 'idle';
  word: string;
}

export interface View {
  mood: Mood;
  title: string;
  /** What is being done, or why it failed. */
  text: string;
  /** Smaller, below it. */
  hint?: string | undefined;
  rows: Row[];
}

function toRow({ service, name, state, health, class: its }: ContainerState): Omit<Row, 'name'> & { name: string } {
  const row = (tone: Row['tone'], word: string) => ({ name: service || name, tone, word });
  switch (its) {
    case 'ok':
      return row('good', health === 'healthy' ? 'healthy' : 'running');
    case 'completed':
      return row('good', 'done');
    case 'starting':
      return row('busy', state === 'created' ? 'created' : state === 'restarting' ? 'restarting' : 'warming up');
    case 'created':
      return row('idle', 'created');
    case 'stopped':
      return row('idle', 'stopped');
    case 'paused':
      return row('idle', 'paused');
    case 'unhealthy':
      return row('bad', state === 'restarting' ? 'crashing' : 'unhealthy');
    default:
      return row('bad', state || 'broken');
  }
}

/** Replicas of one service are told by number. */
function toRows(containers: ContainerState[]): Row[] {
  const rows = containers.map(toRow).sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const counts = new Map<string, number>();
  return rows.map((row) => {
    const again = rows.filter(({ name }) => name === row.name).length > 1;
    const number = (counts.get(row.name) ?? 0) + 1;
    counts.set(row.name, number);
    return again ? { ...row, name: `${row.name} ${number}` } : row;
  });
}

function progressText(state: ServiceState, rows: Row[]): string {
  const ready = rows.filter(({ tone }) => tone === 'good').length;
  const count = `${ready} of ${rows.length} ${rows.length === 1 ? 'part' : 'parts'} ready`;
  if (state.inProgress === 'stop') return 'It is being stopped.';
  if (rows.length === 0) return 'Portainer is creating its containers.';
  if (state.verdict === 'starting') return `Its containers run and are warming up: ${count}.`;
  if (state.inProgress === 'restart') return `Restarting what was not well: ${count}.`;
  return `Its containers are being started: ${count}.`;
}

/** One service as a visitor is told of it. `asked`: this call, or one before it, has set a start going. */
export function toView(name: string, state: ServiceState, asked: boolean): View {
  const rows = toRows(state.containers);
  if (state.verdict === 'healthy') {
    return { mood: 'ready', title: `${name} is up`, text: 'Taking you there…', rows };
  }
  const moving = state.inProgress !== undefined || ['starting', 'deploying'].includes(state.verdict) || asked;
  if (moving) {
    const hint =
      rows.length === 0 || state.verdict === 'deploying'
        ? 'When images have to be downloaded first, this takes a few minutes.'
        : undefined;
    return { mood: 'starting', title: `Waking ${name}`, text: progressText(state, rows), hint, rows };
  }
  if (state.failure !== undefined) return toFailureView(name, state.failure, rows);
  const text = rows.length === 0 ? 'It has been stopped.' : 'Some of its parts do not run.';
  return {
    mood: 'asleep',
    title: `${name} is asleep`,
    text,
    hint: 'It wakes up when a person opens this page in a browser.',
    rows,
  };
}

export function toFailureView(name: string, failure: Pick<Failure, 'message'>, rows: Row[] = []): View {
  return {
    mood: 'failed',
    title: `${name} did not wake up`,
    text: /[.!?…]$/.test(failure.message) ? failure.message : `${failure.message}.`,
    hint: 'It stays as it is until somebody tries again.',
    rows,
  };
}
