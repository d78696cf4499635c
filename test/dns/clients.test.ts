// Clients: what is known of an address that asks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clients } from "../../src/dns/clients.ts";
import type { Asker } from "../../src/dns/names/lookup.ts";
import { LIMITS } from "../../src/model/limits.ts";

const HOST: Asker = { kind: "host" };

function on(...networks: string[]): Asker & { readonly kind: "container" } {
  return { kind: "container", networks, isolated: false };
}

/** Clients, of whom those in the map are containers. */
function opened(askerByAddress: ReadonlyMap<string, Asker> = new Map()): Clients {
  return new Clients({
    askerOf: (address) => askerByAddress.get(address) ?? HOST,
    isAllowed: (address) => address.startsWith("10."),
  });
}

test("clients: those who see the same share a number, in whatever objects it is told", () => {
  const clients = opened(
    new Map([
      ["10.0.0.1", on("blue", "default")],
      ["10.0.0.2", on("blue", "default")],
      ["10.0.0.3", on("default", "blue")],
      ["10.0.0.4", on("blue")],
    ]),
  );
  const [one, two, three, four, five] = ["1", "2", "3", "4", "5"].map(
    (last) => clients.of(`10.0.0.${last}`, 0).askerCode,
  );
  assert.equal(one, two);
  assert.equal(new Set([one, three, four, five]).size, 4);
});

test("clients: an address that becomes another container's, or none's, is seen so at its next query", () => {
  const askers = new Map([["10.0.0.1", on("blue")]]);
  const clients = opened(askers);
  const { askerCode: blue, budget } = { ...clients.of("10.0.0.1", 0) };
  askers.set("10.0.0.1", on("red"));
  const red = { ...clients.of("10.0.0.1", 1) };
  assert.deepEqual([red.asker, red.askerCode === blue], [on("red"), false]);
  askers.delete("10.0.0.1");
  const host = { ...clients.of("10.0.0.1", 2) };
  assert.deepEqual([host.asker, host.budget === budget], [HOST, false]);
  askers.set("10.0.0.1", on("blue"));
  assert.equal(clients.of("10.0.0.1", 3).askerCode, blue);
});

test("clients: an address that becomes an isolated container's, or no longer is one's, is seen so at once", () => {
  const askers = new Map<string, Asker>();
  const clients = opened(askers);
  for (const isolated of [true, false, true]) {
    const asker = { ...on("blue"), isolated };
    askers.set("10.0.0.1", asker);
    assert.deepEqual(clients.of("10.0.0.1", 0).asker, asker);
  }
});

test("clients: IPv4 in its IPv6 form is the same client to all who know it", () => {
  const clients = opened(new Map([["10.0.0.1", on("blue")]]));
  const client = clients.of("::ffff:10.0.0.1", 7);
  assert.deepEqual([client.address, client.asker, client.isAllowed], ["10.0.0.1", on("blue"), true]);
  assert.equal(clients.lastAskedMs("10.0.0.1"), 7);
  assert.equal(clients.of("192.0.2.1", 7).isAllowed, false);
});

test("clients: when an address last asked is known, and that it never did", () => {
  const clients = opened();
  clients.of("10.0.0.1", 5);
  clients.of("10.0.0.1", 9);
  assert.deepEqual([clients.lastAskedMs("10.0.0.1"), clients.lastAskedMs("10.0.0.2")], [9, null]);
});

test("clients: a flood of addresses is bounded, and who goes on asking is not forgotten for it", () => {
  const clients = opened(new Map([["10.0.0.1", on("blue")]]));
  const client = clients.of("10.0.0.1", 0);
  for (let at = 0; at < LIMITS.dnsClientsMax * 5; at += 1) {
    clients.of(`192.0.${at >> 8}.${at & 255}`, at);
    if (at % 4096 === 0) assert.equal(clients.of("10.0.0.1", at), client);
  }
  assert.ok(clients.size <= 2 * LIMITS.dnsClientsMax);
  assert.equal(clients.lastAskedMs("192.0.0.0"), null);
});

test("clients: a network whose budget was forgotten meanwhile has one, not one for each of its addresses", () => {
  const clients = opened();
  const first = clients.of("192.0.2.1", 0).budget;
  for (let at = 0; at < LIMITS.dnsBudgetsMax; at += 1) clients.of(`198.${at >> 8}.${at & 255}.1`, 0);
  const other = clients.of("192.0.2.2", 0).budget;
  assert.notEqual(other, first);
  assert.equal(clients.of("192.0.2.1", 0).budget, other);
});
