// Connections: what all TCP connections share, with guests that are none.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Connections, type Guest } from "../../../src/dns/tcp/connections.ts";
import type { Place } from "../../../src/dns/tcp/crowd.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { until } from "../../support/wait.ts";

/** A connection that only knows whether it was started and ended. */
class PlainGuest implements Guest {
  place: Place<Guest> | null = null;
  isEnded = false;

  start(place: Place<Guest>): void {
    assert.equal(this.place, null);
    this.place = place;
  }

  end(): void {
    this.isEnded = true;
  }
}

function admitted(connections: Connections, address: string): PlainGuest & { readonly place: Place<Guest> } {
  const guest = new PlainGuest();
  assert.equal(connections.admit(guest, address), true);
  const { place } = guest;
  assert.ok(place !== null);
  return Object.assign(guest, { place });
}

const MIB = 1024 * 1024;

test("connections: what is held is bounded over all of them; who has most is ended, the others stay", () => {
  const connections = new Connections();
  const mute = Array.from({ length: 40 }, (_, at) => admitted(connections, `192.0.2.${at}`));
  const fair = admitted(connections, "198.51.100.1");
  connections.hold(fair.place, 64 * 1024);
  for (const { place } of mute) {
    connections.hold(place, MIB);
    assert.ok(connections.heldBytes <= LIMITS.dnsConnectionsHeldBytes);
  }
  assert.equal(mute.filter(({ isEnded }) => isEnded).length, 9);
  assert.equal(fair.isEnded, false);
  assert.equal(connections.total, 32);
});

test("connections: the more is held for all, the less one may have before it is not read from", () => {
  const connections = new Connections();
  assert.equal(connections.unsentBytesMax, LIMITS.dnsConnectionBufferedBytes);
  let mayHave = connections.unsentBytesMax;
  for (let at = 0; at < 32; at += 1) {
    connections.hold(admitted(connections, `192.0.2.${at}`).place, MIB);
    assert.ok(connections.unsentBytesMax <= mayHave);
    mayHave = connections.unsentBytesMax;
  }
  assert.equal(mayHave, 0);
});

test("connections: the addresses of one /64 are one client, those of IPv4 each its own", () => {
  const connections = new Connections({ max: 16 });
  const six = Array.from({ length: 8 }, (_, at) => admitted(connections, `2001:db8::${at + 1}`));
  assert.equal(connections.admit(new PlainGuest(), "2001:db8::ffff"), true);
  assert.deepEqual([connections.total, connections.waiting], [8, 1]);
  for (let at = 0; at < 4; at += 1) admitted(connections, `192.0.2.${at}`);
  assert.ok(six.every(({ isEnded }) => !isEnded));
  assert.equal(connections.total, 12);
});

test("connections: clients of this host find places that those of others cannot take", () => {
  const connections = new Connections({ max: 16, isLocal: (address) => address.startsWith("172.17.") });
  const far = Array.from({ length: 100 }, () => new PlainGuest());
  for (const [at, guest] of far.entries()) connections.admit(guest, `192.0.2.${at}`);
  assert.equal(connections.total, 12);
  for (let at = 0; at < 4; at += 1) admitted(connections, `172.17.0.${at + 2}`);
  assert.ok(far.every(({ isEnded }) => !isEnded));
});

test("connections: only so many wait for a place, and they get those that are given back, in order", () => {
  const connections = new Connections({ max: 32 });
  const [first, second] = Array.from({ length: 16 }, () => admitted(connections, "127.0.0.1"));
  assert.ok(first !== undefined && second !== undefined);
  const later = [new PlainGuest(), new PlainGuest()] as const;
  for (const guest of later) assert.equal(connections.admit(guest, "127.0.0.1"), true);
  // Another client's do not wait behind them.
  assert.equal(connections.admit(new PlainGuest(), "127.0.0.1"), false);
  admitted(connections, "127.0.0.2");
  connections.leave(first, first.place);
  assert.deepEqual(
    later.map(({ place }) => place !== null),
    [true, false],
  );
  connections.leave(second, second.place);
  assert.deepEqual([connections.waiting, connections.total], [0, 17]);
});

test("connections: one that waits gets the place of one that has come to rest meanwhile", async () => {
  const connections = new Connections({ max: 2, restMs: 50 });
  const first = admitted(connections, "127.0.0.1");
  const later = new PlainGuest();
  assert.equal(connections.admit(later, "127.0.0.1"), true);
  await until(() => later.place !== null);
  assert.deepEqual([first.isEnded, later.isEnded], [true, false]);
});

test("connections: one that leaves while it waits gets no place", () => {
  const connections = new Connections({ max: 2 });
  const first = admitted(connections, "127.0.0.1");
  const later = new PlainGuest();
  connections.admit(later, "127.0.0.1");
  connections.leave(later, null);
  connections.leave(first, first.place);
  assert.deepEqual([later.place, connections.total, connections.waiting], [null, 0, 0]);
});
