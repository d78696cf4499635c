// A log as it is held: its order, its size, its sum and its floor stay true to its entries.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { collectBuried, emptyLog, put, sizeOf, writeOwn } from "../../src/gossip/held.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { credentialOf } from "../support/sealed.ts";

const O = idOf("o");
const seals = cheapSeals(O);
const steps = fc.array(fc.tuple(fc.nat({ max: 4 }), fc.option(fc.string({ maxLength: 4 }))), {
  maxLength: 30,
});

test("held: whatever is written, sizes are those of the entries, and the sum is that of the live ones", () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const log = emptyLog(O, 1, seals.emptySum());
      for (const [key, body] of steps) writeOwn(log, `k${key}`, body, 0);
      const fresh = seals.emptySum();
      let [sizeBytes, buriedBytes] = [0, 0];
      for (const [key, { version, body }] of log.entryByKey) {
        sizeBytes += sizeOf(key, body);
        if (body === null) buriedBytes += sizeOf(key, null);
        else fresh.add(key, version, body);
      }
      assert.deepEqual([log.sizeBytes, log.buriedBytes], [sizeBytes, buriedBytes]);
      const head = { owner: O, incarnation: 1, version: log.version };
      assert.ok(seals.isSealed(credentialOf(O), head, fresh, seals.seal(head, log.sum), 0));
      assert.equal(log.version, steps.length);
    }),
  );
});

test("held: an own write takes the next version, and a seal over an earlier one does not stand for it", () => {
  const log = emptyLog(O, 1, seals.emptySum());
  log.seal = new Uint8Array(64);
  writeOwn(log, "k", "1", 0);
  assert.deepEqual([log.version, log.seal], [1, null]);
});

test("held: deletions are collected from the oldest on, up to where it is enough, and the floor tells", () => {
  const log = emptyLog(O, 1, seals.emptySum());
  ["a", "b", "c"].forEach((key, index) => put(log, key, { version: index + 1, body: null }, 10 * index));
  put(log, "d", { version: 4, body: "x" }, 30);
  collectBuried(log, (buriedAtMs) => buriedAtMs >= 20);
  assert.deepEqual([...log.entryByKey.keys()], ["c", "d"]);
  assert.deepEqual([log.floor, log.buriedBytes], [2, sizeOf("c", null)]);
  put(log, "c", { version: 5, body: "again" }, 40);
  collectBuried(log, () => false);
  assert.deepEqual([[...log.entryByKey.keys()], log.floor, log.buriedBytes], [["d", "c"], 2, 0]);
});
