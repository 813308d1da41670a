export interface JournalLine {
  /** The function, or `gateway` and `cron` for our own lines. */
  name: string;
  at: number;
  text: string;
}

export interface LogQuery {
  name: string;
  /** ms since 1970; lines before it are left out. */
  since: number;
  /** The newest lines only; all by default. */
  tail?: number;
}

export interface Journal {
  /** A line as the terminal shows it: `NAME | TEXT`. */
  write(line: string): void;
  read(query: LogQuery): JournalLine[];
  /** Calls with every new line of a function until it is told to stop. */
  follow(name: string, listener: (line: JournalLine) => void): () => void;
}

/** The last lines of every function, as the platform's log has them: `keep` in all, 5000 by default. */
export function createJournal(
  terminal: (line: string) => void,
  { keep = 5_000, now = Date.now }: { keep?: number; now?: () => number } = {},
): Journal {
  const lines: JournalLine[] = [];
  const followers = new Set<(line: JournalLine) => void>();
  return {
    write(line) {
      terminal(line);
      const bar = line.indexOf(' | ');
      if (bar === -1) return;
      const entry = { name: line.slice(0, bar).trim(), at: now(), text: line.slice(bar + 3) };
      lines.push(entry);
      if (lines.length > keep) lines.splice(0, lines.length - keep);
      for (const follower of followers) follower(entry);
    },
    read({ name, since, tail }) {
      const found = lines.filter((line) => line.name === name && line.at >= since);
      return tail === undefined || tail < 0 ? found : found.slice(Math.max(0, found.length - tail));
    },
    follow(name, listener) {
      const follower = (line: JournalLine) => {
        if (line.name === name) listener(line);
      };
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}
