/** A call's place among those under way; it is left once. */
export class Place<Call> {
  readonly call: Call;
  before: Place<Call> = this;
  after: Place<Call> = this;

  constructor(call: Call) {
    this.call = call;
  }

  leave(): void {
    this.before.after = this.after;
    this.after.before = this.before;
    // A place that V8 has moved to its old objects would keep its neighbours there, long after they have left.
    this.before = this;
    this.after = this;
  }
}

/**
 * The calls under way, the oldest first. A ring and no Set: the table of a Set that always grows and shrinks is made anew
 * again and again, each old one refers to the next, and all calls that stood in them outlive their end.
 */
export class UnderWay<Call> implements Iterable<Call> {
  readonly #end = new Place<Call | undefined>(undefined);

  add(call: Call): Place<Call> {
    const place: Place<Call | undefined> = new Place(call);
    const end = this.#end;
    place.before = end.before;
    place.after = end;
    end.before.after = place;
    end.before = place;
    return place as Place<Call>;
  }

  *[Symbol.iterator](): Iterator<Call> {
    for (let place = this.#end.after; place !== this.#end; place = place.after) yield place.call as Call;
  }
}
