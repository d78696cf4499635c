/**
 * Queue: what will happen, soonest first.
 *
 * A binary heap keyed by (time, order of arrival), so that two things of one moment happen in the order in which they
 * were decided, on every machine. A thousand nodes make some sixty thousand events a virtual second: a sorted array
 * would spend the run moving elements.
 */

/** Something with a time; the queue numbers it. */
export interface Timed {
  readonly atMs: number;
  /** Set by the queue: earlier pushed, earlier popped. */
  order: number;
}

/** A priority queue of timed things. */
export class EventQueue<T extends Timed> {
  readonly #heap: T[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** The soonest; undefined when there is none. */
  get first(): T | undefined {
    return this.#heap[0];
  }

  push(event: T): void {
    this.#order += 1;
    event.order = this.#order;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const parent = heap[above] as T;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  /** Takes the soonest out; undefined when there is none. */
  pop(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    sink(heap, last);
    return first;
  }
}

/** Puts `event` at the root of a heap and lets it sink to its place. */
function sink<T extends Timed>(heap: T[], event: T): void {
  const count = heap.length;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= count) break;
    if (child + 1 < count && isBefore(heap[child + 1] as T, heap[child] as T)) child += 1;
    const soonest = heap[child] as T;
    if (!isBefore(soonest, event)) break;
    heap[at] = soonest;
    at = child;
  }
  heap[at] = event;
}

function isBefore(one: Timed, other: Timed): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
