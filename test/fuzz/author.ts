// An owner that writes what it likes and seals it: what its log does to others is theirs to bound.

import type { Delta, Write } from "../../src/gossip/message.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { cheapSeals } from "../support/cheap-seals.ts";

/** One owner; its certificate comes with its first delta. */
export class Author {
  readonly owner: NodeId;
  readonly #seals;
  readonly #sum;
  readonly #liveByKey = new Map<string, { readonly version: number; readonly body: string }>();
  #version = 0;

  constructor(owner: NodeId) {
    this.owner = owner;
    this.#seals = cheapSeals(owner);
    this.#sum = this.#seals.emptySum();
  }

  /** The next writes, a null body for a deletion. What is not sent makes a gap. */
  delta(changes: readonly (readonly [key: string, body: string | null])[]): Delta {
    const { owner } = this;
    const from = this.#version;
    const first = from === 0 ? [[CERTIFICATE_KEY, this.#seals.certificate] as const] : [];
    const writes = [...first, ...changes].map(([key, body]) => this.#write(key, body));
    const head = { owner, incarnation: 1, version: this.#version };
    const seal = this.#seals.seal(head, this.#sum);
    return { owner, incarnation: 1, floor: 0, from, to: this.#version, writes, seal };
  }

  #write(key: string, body: string | null): Write {
    const old = this.#liveByKey.get(key);
    if (old !== undefined) this.#sum.remove(key, old.version, old.body);
    this.#version += 1;
    const version = this.#version;
    if (body === null) this.#liveByKey.delete(key);
    else {
      this.#liveByKey.set(key, { version, body });
      this.#sum.add(key, version, body);
    }
    return { key, version, body };
  }
}
