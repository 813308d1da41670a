import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type AuthData, toPythonString } from '../../functions/completion-proxy/vast/auth-data.ts';
import { type SignatureForm, signedMessage } from '../../functions/completion-proxy/vast/signature.ts';
import { toPythonFloat } from './python-float.ts';

/** What a worker reports, by the names that it sends. */
export interface WorkerStatus {
  id: number;
  mtoken: string;
  url: string;
  max_perf: number;
  cur_load: number;
  loadtime: number;
  error_msg: string;
  [field: string]: unknown;
}

export interface Worker {
  id: number;
  /** Every report, the oldest first. */
  reports: { at: number; status: WorkerStatus }[];
  /** It told once how long it took to load. */
  isLoaded: boolean;
}

/** One call that was given to workers: to whom, and what became of it. */
export interface RoutedRequest {
  requestIdx: number;
  cost: number;
  given: { workerId: number; reqnum: number }[];
  deletions: { workerId: number; success: boolean }[];
  /** Its load is still counted. */
  isOpen: boolean;
}

export interface VastEndpoint {
  id: number;
  name: string;
  apiKey: string;
}

/** What the autoscaler knows: endpoints and their keys, workers by what they reported, and every call that it gave out. */
export class VastWorld {
  readonly endpoints: VastEndpoint[] = [
    { id: 11, name: 'my-endpoint', apiKey: 'endpoint-key-sandbox' },
    { id: 12, name: 'größe/ß', apiKey: 'endpoint-key-umlaut' },
  ];
  readonly accountKey = 'account-key-sandbox';
  readonly masterToken = 'master-token-sandbox';
  readonly workers = new Map<number, Worker>();
  readonly requests = new Map<number, RoutedRequest>();
  /** Deletions of calls that were never given to that worker, or twice. */
  readonly oddDeletions: { workerId: number; requestIdx: number }[] = [];
  signatureForm: SignatureForm = 'url';
  /** Silence after which a worker is given nothing, and its calls are written off. */
  staleMs = 30_000;
  #keys = VastWorld.#newKeys();
  #nextRequestIdx = 1;
  #nextReqnum = 1;

  static #newKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
    return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }

  get publicPem(): string {
    return String(this.#keys.publicKey.export({ type: 'spki', format: 'pem' }));
  }

  rotateKey(): void {
    this.#keys = VastWorld.#newKeys();
  }

  /** The signed fields as JSON text, with Python's spelling. */
  sign(fields: Omit<AuthData, 'signature'>): string {
    const message = signedMessage(this.signatureForm, { ...fields, signature: '""' });
    return sign('sha256', Buffer.from(message), this.#keys.privateKey).toString('base64');
  }

  #last(worker: Worker) {
    return worker.reports.at(-1)!;
  }

  isReady(worker: Worker): boolean {
    const { at, status } = this.#last(worker);
    return worker.isLoaded && status.error_msg === '' && status.max_perf > 0 && Date.now() - at < this.staleMs;
  }

  /** Load that was given to a worker and is not deleted yet. */
  loadOf(workerId: number): number {
    const open = [...this.requests.values()].filter((it) => it.isOpen && it.given.at(-1)?.workerId === workerId);
    return open.reduce((sum, { cost }) => sum + cost, 0);
  }

  /** Ends the account of calls that a silent worker had. */
  writeOff(): void {
    for (const request of this.requests.values()) {
      const worker = this.workers.get(request.given.at(-1)!.workerId)!;
      if (request.isOpen && Date.now() - this.#last(worker).at >= this.staleMs) request.isOpen = false;
    }
  }

  /** The answer of `/route/` as text: a worker and its signed ticket, or what is known of the workers. */
  route(endpoint: VastEndpoint, cost: number, wantedIdx?: number, onlyWorker?: number): string {
    this.writeOff();
    const known = wantedIdx === undefined ? undefined : this.requests.get(wantedIdx);
    const before = known?.given.at(-1)?.workerId;
    const ready = [...this.workers.values()].filter(
      (worker) => this.isReady(worker) && (onlyWorker === undefined || worker.id === onlyWorker),
    );
    // Who comes back with its number had no luck at the last worker.
    const others = ready.filter(({ id }) => id !== before);
    const [worker] = (others.length > 0 ? others : ready).toSorted(
      (a, b) =>
        this.loadOf(a.id) / this.#last(a).status.max_perf - this.loadOf(b.id) / this.#last(b).status.max_perf ||
        a.id - b.id,
    );
    if (worker === undefined) {
      const status = `workers: ${this.workers.size} known, 0 ready`;
      return JSON.stringify({ endpoint: endpoint.name, status });
    }
    const request = known ?? { requestIdx: this.#nextRequestIdx++, cost, given: [], deletions: [], isOpen: true };
    request.isOpen = true;
    this.requests.set(request.requestIdx, request);
    const reqnum = this.#nextReqnum++;
    request.given.push({ workerId: worker.id, reqnum });
    const fields = {
      cost: toPythonFloat(cost),
      endpoint: toPythonString(endpoint.name),
      reqnum: String(reqnum),
      request_idx: String(request.requestIdx),
      url: toPythonString(this.#last(worker).status.url),
    };
    const signature = toPythonString(this.sign(fields));
    const members = { ...fields, signature, __request_id: '"sandbox"' };
    return `{${Object.entries(members)
      .map(([name, value]) => `"${name}": ${value}`)
      .join(', ')}}`;
  }

  report(status: WorkerStatus): void {
    const worker = this.workers.get(status.id) ?? { id: status.id, reports: [], isLoaded: false };
    this.workers.set(status.id, worker);
    worker.reports.push({ at: Date.now(), status });
    if (status.loadtime > 0) worker.isLoaded = true;
  }

  delete(workerId: number, requestIdx: number, success: boolean): void {
    const request = this.requests.get(requestIdx);
    const given = request?.given.filter((it) => it.workerId === workerId).length ?? 0;
    const deleted = request?.deletions.filter((it) => it.workerId === workerId).length ?? 0;
    if (request === undefined || deleted >= given) this.oddDeletions.push({ workerId, requestIdx });
    if (request === undefined) return;
    request.deletions.push({ workerId, success });
    // A worker that refused a call does not end what another one has by now.
    if (request.given.at(-1)!.workerId === workerId) request.isOpen = false;
  }
}
