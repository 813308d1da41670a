/** A line of our log, as it is written: secrets are redacted in it, texts are cut. */
export interface ErrorLine {
  time: string;
  level: string;
  msg: string;
  error?: { name?: string; message?: string; stack?: string };
  [field: string]: unknown;
}

export interface NoticeFrame {
  environment: string;
  hostname: string;
  pid: number;
}

/** `at create (/home/app/index.cjs:12:34)` and `at /home/app/index.cjs:12:34`. */
function toBacktrace(stack = '') {
  return [...stack.matchAll(/^\s*at (?:(.+?) \()?([^()\s]+):(\d+):\d+\)?$/gm)].map(([, method, file, number]) => ({
    method: method ?? '<anonymous>',
    file: file!,
    number: number!,
  }));
}

/** What Honeybadger's `POST /v1/notices` takes. */
export function toNotice(line: ErrorLine, { environment, hostname, pid }: NoticeFrame, notSent: number) {
  const { time, level, msg, error, path, ...context } = line;
  return {
    notifier: { name: 'completion-proxy', version: '1' },
    error: {
      class: error?.name ?? 'LogLine',
      message: error === undefined ? msg : `${msg}: ${error.message ?? ''}`,
      backtrace: toBacktrace(error?.stack),
    },
    request: {
      component: 'completion-proxy',
      action: msg,
      ...(typeof path === 'string' ? { url: path } : {}),
      context: { level, ...context, ...(notSent === 0 ? {} : { notices_not_sent_before: notSent }) },
    },
    server: { environment_name: environment, hostname, pid, time },
  };
}
