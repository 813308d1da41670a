import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** When each piece of the body came, in ms since the call began. */
  arrivalsMs: number[];
  /** From the call to the end of the answer. */
  durationMs: number;
  /** False when the connection broke before the end. */
  complete: boolean;
}

/** One GET on a connection of its own. Throws what the socket throws when there is no answer at all. */
export function call(url: string, headers: Record<string, string>, timeoutMs: number): Promise<Answer> {
  const startedAt = performance.now();
  const send = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const req = send(url, { headers, agent: false, signal }, (res) => {
      const arrivalsMs: number[] = [];
      let body = '';
      res.setEncoding('utf8').on('data', (piece: string) => {
        arrivalsMs.push(performance.now() - startedAt);
        body += piece;
      });
      res.on('error', () => undefined);
      res.on('close', () => {
        const { statusCode: status = 0, headers: answered, complete } = res;
        resolve({ status, headers: answered, body, arrivalsMs, durationMs: performance.now() - startedAt, complete });
      });
    });
    req.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error));
    req.end();
  });
}
