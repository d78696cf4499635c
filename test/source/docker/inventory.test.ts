// The inventory: what is held of Docker's containers between its replies.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { ContainerFacts } from "../../../src/source/docker/facts.ts";
import { Inventory } from "../../../src/source/docker/inventory.ts";
import { facts, idOf, labels, TIMES } from "./fixture.ts";

const ID = idOf("a");

function inventory(): Inventory {
  const made = new Inventory({ exposeByDefault: false, health: TIMES });
  made.inspected(facts(), 0);
  return made;
}

const lifecycle = (of: Inventory) => of.discovery(null).endpoints[0]?.lifecycle ?? "gone";

test("inventory: the stop signal marks a container as stopping at once", () => {
  const held = inventory();
  assert.ok(held.killed(ID, 15, 0));
  assert.equal(lifecycle(held), "stopping");
});

test("inventory: SIGKILL means the end whatever the stop signal is; other signals mean nothing", () => {
  const held = inventory();
  held.inspected(facts({ stopSignal: 3 }), 0);
  for (const signal of [1, 10, 12, 15, 28]) assert.ok(!held.killed(ID, signal, 0), String(signal));
  assert.equal(lifecycle(held), "running");
  assert.ok(held.killed(ID, 3, 0));
  const other = inventory();
  assert.ok(other.killed(ID, 9, 0));
  assert.ok(!other.killed(idOf("f"), 9, 0), "a container nobody knows");
});

test("inventory: one that outlives its stop signal for a minute counts as running again", () => {
  const held = inventory();
  held.killed(ID, 15, 1000);
  held.inspected(facts(), 0);
  assert.equal(lifecycle(held), "stopping", "an inspection that shows it running does not end the mark");
  assert.equal(held.nextLapseMs(), 61_000);
  assert.ok(!held.lapse(60_999));
  assert.ok(held.lapse(61_000));
  assert.equal(lifecycle(held), "running");
  assert.equal(held.nextLapseMs(), Infinity);
});

test("inventory: a long stop timeout of its own makes the mark last longer", () => {
  const held = inventory();
  held.inspected(facts({ stopTimeoutMs: 300_000 }), 0);
  held.killed(ID, 15, 0);
  assert.equal(held.nextLapseMs(), 310_000);
});

test("inventory: a new start ends the mark", () => {
  const held = inventory();
  held.killed(ID, 15, 0);
  held.inspected(facts({ startedAtMs: 2000 }), 0);
  assert.equal(lifecycle(held), "running");
});

test("inventory: one that died is out at once, and back with its next inspection", () => {
  const held = inventory();
  held.killed(ID, 15, 0);
  held.died(ID);
  assert.equal(lifecycle(held), "gone");
  held.inspected(facts({ startedAtMs: 2000 }), 0);
  assert.equal(lifecycle(held), "running");
  held.inspected(facts({ state: "gone" }), 0);
  assert.equal(lifecycle(held), "gone");
});

test("inventory: what is not in Docker's list any more is gone", () => {
  const held = inventory();
  held.inspected(facts({ id: idOf("b"), name: "web-2" }), 0);
  held.keepOnly(new Set([idOf("b")]), 0);
  assert.deepEqual(
    held.discovery(null).endpoints.map((endpoint) => endpoint.name),
    ["web-2"],
  );
});

test("inventory: a container that Docker cannot describe keeps what was known of it, and is reported", () => {
  const held = inventory();
  held.unread(ID, "docker answered 500");
  const { endpoints, problems } = held.discovery(null);
  assert.equal(endpoints.length, 1);
  assert.deepEqual(problems, [
    { subject: "container web-1", text: "docker cannot describe it: docker answered 500" },
  ]);
  held.inspected(facts(), 0);
  assert.deepEqual(held.discovery(null).problems, []);
});

test("inventory: entries of the list that cannot be read are counted in a problem", () => {
  const held = inventory();
  held.keepOnly(new Set([ID]), 2);
  assert.match(held.discovery(null).problems[0]?.text ?? "", /2 containers in its list cannot be read/);
});

test("inventory: only what labels may make an endpoint needs an inspection", () => {
  const held = inventory();
  assert.ok(held.needsInspection(facts()));
  assert.ok(!held.needsInspection(facts({ labels: labels({}) })));
  assert.ok(
    new Inventory({ exposeByDefault: true, health: TIMES }).needsInspection(facts({ labels: labels({}) })),
  );
});

test("inventory: a stale set is the last one, with the reason", () => {
  const held = inventory();
  assert.deepEqual(held.discovery("gone away"), { ...held.discovery(null), stale: "gone away" });
});

/** Since when a container can have asked from its addresses, by itself. */
const since = (of: Inventory, container: ContainerFacts = facts()) =>
  of.heldBy(container, container).map(({ address, sinceMs }) => `${address} ${sinceMs}`);

test("inventory: a run has its address since it was first seen there, however often Docker repeats it", () => {
  const held = inventory();
  held.inspected(facts({ reported: "healthy" }), 500);
  held.unread(ID, "docker answered 500");
  held.inspected(facts({ state: "paused" }), 900);
  assert.deepEqual(since(held), ["172.17.0.2 0"]);
});

test("inventory: a restart, which nobody may have seen, begins anew at the same address", () => {
  const held = inventory();
  held.inspected(facts({ startedAtMs: 2000 }), 500);
  assert.deepEqual(since(held), ["172.17.0.2 500"]);
  held.inspected(facts({ startedAtMs: 3 }), 900);
  assert.deepEqual(since(held), ["172.17.0.2 900"], "the host's clock was set back meanwhile");
  held.died(ID);
  assert.deepEqual(since(held), [], "it has none while it is gone");
  held.inspected(facts({ startedAtMs: 3 }), 1200);
  assert.deepEqual(since(held), ["172.17.0.2 1200"]);
});

test("inventory: one that gets another's address has it since it was seen there itself", () => {
  const held = inventory();
  const next = facts({ id: idOf("b") });
  held.inspected(next, 700);
  assert.deepEqual(since(held, next), ["172.17.0.2 700"]);
});

test("inventory: an address that is added later, or comes back, counts from then on", () => {
  const held = inventory();
  const shop = { network: "shop", address: "172.18.0.5" };
  const both = facts({ attachments: [...facts().attachments, shop] });
  held.inspected(both, 300);
  assert.deepEqual(since(held), ["172.17.0.2 0", "172.18.0.5 300"]);
  held.inspected(facts({ attachments: [shop] }), 400);
  held.inspected(both, 500);
  assert.deepEqual(since(held), ["172.17.0.2 500", "172.18.0.5 300"]);
});

test("inventory: one on another's network stack asks from that one's addresses, since both are there", () => {
  const held = inventory();
  const guest = facts({ id: idOf("b"), networkMode: `container:${ID}`, attachments: [] });
  held.inspected(guest, 300);
  assert.deepEqual(held.heldBy(guest, facts()), [{ address: "172.17.0.2", sinceMs: 300 }]);
  held.inspected(facts({ startedAtMs: 2000 }), 600);
  assert.deepEqual(held.heldBy(guest, facts()), [{ address: "172.17.0.2", sinceMs: 600 }]);
});
