// Fills a store with owners, keys and bodies, past every bound on what it may hold.

import { below, pick, type Random } from "../../src/base/random.ts";
import type { Applied, Store } from "../../src/gossip/store.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { storeOf } from "../support/sealed.ts";

import { Author } from "./author.ts";
import type { Fuzzer } from "./fuzzer.ts";
import { check, checkStore, numberedId } from "./holdings.ts";

const SELF = numberedId(0);
const LINK = 1;
const NOW_MS = 1_700_000_000_000;
/** As many writes with the longest body as a frame holds. */
const LARGE_WRITES = Math.floor(LIMITS.frameBytes / LIMITS.recordBytes) - 1;
/** One text for all, so that what is counted as held does not take that much memory here. */
const LARGE_BODY = "x".repeat(LIMITS.recordBytes);

/** Makes the fuzzer of the store's bounds: each case floods one store in one of five ways. */
export function floodFuzzer(): Fuzzer {
  return {
    name: "flood",
    round(random) {
      const store = storeOf(SELF, 1);
      store.write(new Map([["node", "own"]]), NOW_MS);
      const floods = [floodOwners, floodKeys, floodBodies, floodVersions, floodParts];
      const flood = pick(random, floods) ?? floodOwners;
      const outcome = flood(store, random);
      checkStore(store);
      check(store.logOf(SELF)?.entryByKey.get("node")?.body === "own", "this node's own log is flooded");
      check(store.write(new Map([["more", "own"]]), NOW_MS).changed, "this node cannot write any more");
      return outcome;
    },
  };
}

/** More owners than a node holds; some are forgotten in between, and make room. */
function floodOwners(store: Store, random: Random): string {
  const count = LIMITS.ownersMax + 200;
  for (let index = 0; index < count; index += 1) {
    store.apply(new Author(numberedId(index + 1)).delta([["k", "b"]]), LINK, NOW_MS);
    if (random() < 0.01) store.forget(numberedId(1 + below(random, index + 1)));
  }
  check(store.logs.size === LIMITS.ownersMax, `${store.logs.size} owners are held`);
  return "owners";
}

/** More keys than an owner may have, most of them deleted again. */
function floodKeys(store: Store, random: Random): string {
  const author = new Author(numberedId(1));
  const aliveShare = 0.2 + random();
  let refused = 0;
  for (let made = 0; made < LIMITS.entriesPerOwner * 1.5;) {
    const count = 1 + below(random, 4000);
    const changes = Array.from({ length: count }, (_, index): [string, string | null] => {
      return [`k${made + index}`, random() < aliveShare ? "b" : null];
    });
    const { kind } = store.apply(author.delta(changes), LINK, NOW_MS);
    made += count;
    if (kind === "refused") refused += 1;
    // What was refused makes a gap for what comes next.
    if (kind !== "applied") break;
  }
  check(refused > 0 || aliveShare < 0.8, "more keys are held than may be");
  check(refused === 0 || aliveShare > 0.6, "deletions stand in the way of what is alive");
  return "keys";
}

/** More bytes than an owner may have, from more owners than a store has room for. */
function floodBodies(store: Store, random: Random): string {
  const framesAnOwner = 1 + Math.ceil((LIMITS.ownerBytes * 1.1) / (LARGE_WRITES * LIMITS.recordBytes));
  const counts = new Map<Applied["kind"], number>();
  for (let index = 0; index < 12; index += 1) {
    const author = new Author(numberedId(index + 1));
    let made = 0;
    for (let frame = below(random, 3); frame < framesAnOwner; frame += 1) {
      const changes = Array.from({ length: LARGE_WRITES }, (_, write): [string, string] => {
        return [`k${made + write}`, LARGE_BODY];
      });
      made += LARGE_WRITES;
      const { kind } = store.apply(author.delta(changes), LINK, NOW_MS);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      if (kind !== "applied") break;
    }
  }
  check((counts.get("refused") ?? 0) > 0, "nothing is refused");
  return "bodies";
}

/** The same keys over and over: what was replaced takes no room. */
function floodVersions(store: Store, random: Random): string {
  const author = new Author(numberedId(1));
  const deltas = Math.ceil((LIMITS.storeBytes * 1.1) / (LARGE_WRITES * LIMITS.recordBytes));
  for (let round = 0; round < deltas; round += 1) {
    const changes = Array.from({ length: LARGE_WRITES }, (_, write): [string, string | null] => {
      return [`k${write}`, random() < 0.1 ? null : LARGE_BODY];
    });
    const { kind } = store.apply(author.delta(changes), LINK, NOW_MS);
    check(kind === "applied", "the log does not go on");
  }
  check(
    store.logOf(author.owner)?.entryByKey.size === LARGE_WRITES + 1,
    "fewer keys are held than were written",
  );
  return "versions";
}

/** Parts of logs that are never sealed, over many links. */
function floodParts(store: Store, random: Random): string {
  for (let link = 1; link < 20; link += 1) {
    const owner = numberedId(1 + below(random, 4));
    for (let from = 0; from < 40 * LARGE_WRITES; from += LARGE_WRITES) {
      const writes = Array.from({ length: LARGE_WRITES }, (_, write) => {
        return { key: `k${from + write}`, version: from + write + 1, body: LARGE_BODY };
      });
      const to = from + LARGE_WRITES;
      store.apply({ owner, incarnation: 1, floor: 0, from, to, writes, seal: null }, link, NOW_MS + link);
      check(store.staging.sizeBytes <= LIMITS.stagedBytes, `${store.staging.sizeBytes} bytes wait`);
    }
  }
  check(store.logs.size === 1, "what has no seal counts");
  return "parts";
}
