// Guests: no member takes the places of all others.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { TLSSocket } from "node:tls";
import { describe, it } from "node:test";

import { Guests } from "../../src/mesh/guests.ts";
import { LIMITS } from "../../src/model/limits.ts";

/** A connection that can do what guests ask of one: to be timed, to be destroyed, to tell that it is gone. */
function connection(): TLSSocket {
  const socket = Object.assign(new EventEmitter(), {
    setTimeout: () => socket,
    destroy: () => socket.emit("close"),
  });
  return socket as unknown as TLSSocket;
}

/** Opens streams for a member until it gets no more. */
function fill(guests: Guests, member: string): TLSSocket[] {
  const streams: TLSSocket[] = [];
  for (;;) {
    const socket = connection();
    guests.addReady(socket, { id: member, role: "worker", issuer: "", notAfterMs: 0 });
    if (!guests.hasRoomFor(socket)) {
      socket.destroy();
      return streams;
    }
    guests.addStream(socket);
    streams.push(socket);
  }
}

describe("guests", () => {
  it("a member that opens streams without end leaves room for the next, and that one for a third", () => {
    const guests = new Guests();
    const first = fill(guests, "greedy");
    assert.equal(first.length, (LIMITS.streamsMax / 4) * 3);
    const [second, third] = [fill(guests, "second"), fill(guests, "third")];
    assert.ok(second.length > 1000, `${second.length} streams`);
    assert.ok(third.length > 500, `${third.length} streams`);
    assert.equal(guests.streamCount, first.length + second.length + third.length);
    assert.ok(guests.streamCount <= LIMITS.streamsMax);
  });

  it("who asks to join from many addresses of one IPv6 network counts as one", () => {
    const guests = new Guests();
    for (let last = 1; last <= 5; last += 1) guests.addJoin(connection(), `2001:db8:0:1::${last}`);
    guests.addJoin(connection(), "2001:db8:0:2::1");
    assert.deepEqual(
      ["2001:db8:0:1::9", "2001:db8:0:2::9"].map((each) => guests.joinsOf(each)),
      [5, 1],
    );
  });

  it("what a member had comes back once its streams have ended", () => {
    const guests = new Guests();
    for (const socket of fill(guests, "greedy")) socket.destroy();
    assert.equal(guests.streamCount, 0);
    assert.equal(fill(guests, "greedy").length, (LIMITS.streamsMax / 4) * 3);
  });
});
