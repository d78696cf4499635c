/**
 * Rounds: whose turn it is: clients one after the other, and of each client its connections one after the other.
 *
 * Work that cannot be done at once waits here. Were connections served in the order in which they came, a client with
 * hundreds of them would make a client with one wait for all; so each client has one turn in each round.
 *
 * Pure. turns.ts says how long a turn is.
 */

/** A queue in which each network has one turn a round; an item that waits already keeps its place. */
export class Rounds<T> {
  readonly #itemsByNetwork = new Map<string, Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Puts an item behind the others of its network, and a network that waits for nothing else behind the others. */
  add(network: string, item: T): void {
    const items = this.#itemsByNetwork.get(network) ?? new Set<T>();
    if (items.has(item)) return;
    this.#itemsByNetwork.set(network, items.add(item));
    this.#size += 1;
  }

  /** Takes out an item that need not have its turn any more, if it is there. */
  delete(network: string, item: T): void {
    const items = this.#itemsByNetwork.get(network);
    if (items?.delete(item) !== true) return;
    this.#size -= 1;
    if (items.size === 0) this.#itemsByNetwork.delete(network);
  }

  /** Takes out the item whose turn it is; null when none waits. */
  next(): T | null {
    for (const [network, items] of this.#itemsByNetwork) {
      for (const item of items) {
        this.delete(network, item);
        this.#itemsByNetwork.delete(network);
        if (items.size > 0) this.#itemsByNetwork.set(network, items);
        return item;
      }
    }
    return null;
  }
}
