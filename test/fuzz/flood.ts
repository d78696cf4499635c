// Fills a store with owners, keys and bodies, past every bound on what it may hold.

import { below, type Random } from "../../src/base/random.ts";
import type { Delta, Write } from "../../src/gossip/message.ts";
import { Store, type Applied } from "../../src/gossip/store.ts";
import { LIMITS } from "../../src/model/limits.ts";

import type { Fuzzer } from "./fuzzer.ts";
import { check, checkStore, numberedId } from "./holdings.ts";

const SELF = numberedId(0);
const NOW_MS = 1_700_000_000_000;
/** As many writes with the longest body as a frame holds. */
const LARGE_WRITES = Math.floor(LIMITS.frameBytes / LIMITS.recordBytes) - 1;
/** One text for all, so that what is counted as held does not take that much memory here. */
const LARGE_BODY = "x".repeat(LIMITS.recordBytes);

/** Makes the fuzzer of the store's bounds: each case floods one store in one of four ways. */
export function floodFuzzer(): Fuzzer {
  return {
    name: "flood",
    round(random) {
      const store = new Store(SELF, 1);
      store.write(new Map([["node", "own"]]), NOW_MS);
      const flood = [floodOwners, floodKeys, floodBodies, floodVersions][below(random, 4)] ?? floodOwners;
      const outcome = flood(store, random);
      checkStore(store);
      check(store.logOf(SELF)?.entryByKey.get("node")?.body === "own", "this node's own log is flooded");
      check(store.write(new Map([["more", "own"]]), NOW_MS), "this node cannot write any more");
      return outcome;
    },
  };
}

/** More owners than a node holds; some are forgotten in between, and make room. */
function floodOwners(store: Store, random: Random): string {
  const count = LIMITS.ownersMax + 200;
  for (let index = 0; index < count; index += 1) {
    const writes = [{ key: "k", version: 1, body: "b" }];
    store.apply(deltaOf(numberedId(index + 1), 0, writes), NOW_MS);
    if (random() < 0.01) store.forget(numberedId(1 + below(random, index + 1)));
  }
  check(store.logs.size === LIMITS.ownersMax, `${store.logs.size} owners are held`);
  return "owners";
}

/** More keys than an owner may have, most of them deleted again. */
function floodKeys(store: Store, random: Random): string {
  const owner = numberedId(1);
  let from = 0;
  while (from < LIMITS.entriesPerOwner * 1.2) {
    const writes = Array.from({ length: 1 + below(random, 4000) }, (_, index) => {
      return { key: `k${from + index}`, version: from + index + 1, body: random() < 0.5 ? null : "b" };
    });
    check(store.apply(deltaOf(owner, from, writes), NOW_MS) === "applied", "the log does not go on");
    from += writes.length;
  }
  check(store.logOf(owner)?.entryByKey.size === LIMITS.entriesPerOwner, "fewer keys are held than may be");
  return "keys";
}

/** More bytes than an owner may have, from more owners than a store has room for. */
function floodBodies(store: Store, random: Random): string {
  const framesAnOwner = 1 + Math.ceil((LIMITS.ownerBytes * 1.1) / (LARGE_WRITES * LIMITS.recordBytes));
  const counts = new Map<Applied, number>();
  for (let index = 0; index < 12; index += 1) {
    let from = 0;
    for (let frame = below(random, 3); frame < framesAnOwner; frame += 1) {
      const writes = Array.from({ length: LARGE_WRITES }, (_, write) => {
        return { key: `k${from + write}`, version: from + write + 1, body: LARGE_BODY };
      });
      const applied = store.apply(deltaOf(numberedId(index + 1), from, writes), NOW_MS);
      counts.set(applied, (counts.get(applied) ?? 0) + 1);
      if (applied !== "applied") break;
      from += writes.length;
    }
  }
  check((counts.get("refused") ?? 0) > 0, "nothing is refused");
  return "bodies";
}

/** The same keys over and over: what was replaced takes no room. */
function floodVersions(store: Store, random: Random): string {
  const owner = numberedId(1);
  const deltas = Math.ceil((LIMITS.storeBytes * 1.1) / (LARGE_WRITES * LIMITS.recordBytes));
  for (let from = 0; from < deltas * LARGE_WRITES; from += LARGE_WRITES) {
    const writes = Array.from({ length: LARGE_WRITES }, (_, write) => {
      const body = random() < 0.1 ? null : LARGE_BODY;
      return { key: `k${write}`, version: from + write + 1, body };
    });
    check(store.apply(deltaOf(owner, from, writes), NOW_MS) === "applied", "the log does not go on");
  }
  check(store.logOf(owner)?.entryByKey.size === LARGE_WRITES, "fewer keys are held than were written");
  return "versions";
}

function deltaOf(owner: string, from: number, writes: readonly Write[]): Delta {
  return { owner, incarnation: 1, floor: 0, from, to: from + writes.length, writes };
}
