// Sockets: answers leave from the address that was asked, whichever of the host's it was; addresses come and go.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { UdpListener, type Arrival } from "../../../src/proxy/udp/sockets.ts";
import { ownSockets, survey } from "../../../src/runtime/sharing.ts";
import { openBlock } from "../../support/daemons.ts";
import { connectUdp, openUdp } from "../../support/udp.ts";
import { until, within } from "../../support/wait.ts";

interface Opened {
  readonly listener: UdpListener;
  readonly arrivals: Arrival[];
  readonly told: string[];
  /** The host's addresses; may be changed. */
  readonly own: string[];
}

/** A frontend that answers each datagram with where it came to, or leaves that to the test. */
function prepare(t: TestContext, own: string[], answers: "at once" | "later" = "at once"): Opened {
  const arrivals: Arrival[] = [];
  const told: string[] = [];
  const listener = new UdpListener({
    shared: new Set(),
    ownAddresses: () => own,
    take(_payload, arrival) {
      arrivals.push(arrival);
      if (answers === "at once") arrival.reply(Buffer.from(arrival.to.host));
    },
  });
  listener.onError = (thrown) => void told.push(String(thrown));
  t.after(() => listener.close());
  return { listener, arrivals, told, own };
}

/** Who answers what is sent to an address. */
async function answererAt(t: TestContext, host: string, port: number): Promise<string | undefined> {
  const client = await openUdp(t);
  await until(() => {
    client.socket.send("?", port, host);
    return client.received.length > 0;
  });
  return client.received[0]?.from.address;
}

test("sockets: of a wildcard each address answers for itself, all on one port", async (t) => {
  const { listener } = prepare(t, ["127.0.0.1", "127.0.0.2"]);
  await listener.listen({ address: "0.0.0.0", port: 0 }, await survey());
  const port = listener.port ?? 0;
  for (const host of ["127.0.0.1", "127.0.0.2"]) assert.equal(await answererAt(t, host, port), host);
});

test("sockets: what one client's port sends to two addresses are two flows", async (t) => {
  const { listener, arrivals } = prepare(t, ["127.0.0.1", "127.0.0.2"]);
  await listener.listen({ address: "0.0.0.0", port: 0 }, await survey());
  const client = await openUdp(t);
  for (const host of ["127.0.0.1", "127.0.0.2"]) client.socket.send("?", listener.port ?? 0, host);
  await until(() => arrivals.length === 2);
  assert.notEqual(arrivals[0]?.key, arrivals[1]?.key);
});

test("sockets: an address that comes later is served with the next look", async (t) => {
  const { listener, own } = prepare(t, ["127.0.0.1"]);
  await listener.listen({ address: "0.0.0.0", port: 0 }, await survey());
  own.push("127.0.0.3");
  await until(async () => {
    listener.look();
    const client = await openUdp(t);
    client.socket.send("?", listener.port ?? 0, "127.0.0.3");
    return until(() => client.received.length > 0, { deadlineMs: 200 });
  });
});

test("sockets: an address that was gone for a minute is closed, and one that is back before is not", async (t) => {
  const { listener, own } = prepare(t, ["127.0.0.1", "127.0.0.2"]);
  await listener.listen({ address: "0.0.0.0", port: 0 }, await survey());
  const port = listener.port ?? 0;
  const [gone] = own.splice(1, 1);
  assert.ok(gone);
  for (let look = 0; look < 20; look += 1) {
    listener.look();
    await new Promise(setImmediate);
  }
  assert.equal(await answererAt(t, gone, port), gone);
  await until(async () => {
    listener.look();
    await new Promise(setImmediate);
    // It can be had by another once it is closed.
    const other = await openUdp(t, { host: gone, port }).catch(() => null);
    return other !== null;
  });
});

test("sockets: one address that is taken is told once, and the others are served", async (t) => {
  const taken = await openUdp(t, { host: "127.0.0.2" });
  const { listener, told } = prepare(t, ["127.0.0.1", "127.0.0.2"]);
  await listener.listen({ address: "0.0.0.0", port: taken.port }, await survey());
  assert.equal(await answererAt(t, "127.0.0.1", taken.port), "127.0.0.1");
  await until(() => {
    listener.look();
    return told.length > 0;
  });
  for (let look = 0; look < 5; look += 1) {
    listener.look();
    await new Promise(setImmediate);
  }
  assert.equal(told.length, 1);
  assert.match(told[0] ?? "", /127\.0\.0\.2:\d+\/udp is not served/);
});

test("sockets: none that can be opened is a failure that names who is in the way", async (t) => {
  const taken = await openUdp(t);
  const { listener } = prepare(t, ["127.0.0.1"]);
  await assert.rejects(listener.listen({ address: "0.0.0.0", port: taken.port }, await survey()), {
    code: "busy",
    message: new RegExp(`^127\\.0\\.0\\.1:${taken.port}/udp is held by \\S+ \\(pid ${process.pid}\\)$`),
  });
  assert.equal(listener.port, null);
});

test("sockets: one that leaves beside another answers what it was asked, and hears nothing more", async (t) => {
  const address = (await openBlock(t)).address(1);
  const [old, young] = [prepare(t, [address], "later"), prepare(t, [address], "at once")];
  await old.listener.listen({ address, port: 5300 }, await survey());
  await young.listener.listen({ address, port: 5300 }, await survey(new Set(await ownSockets())));
  const clients = await Promise.all(
    Array.from({ length: 40 }, () => connectUdp(t, { host: address, port: 5300 })),
  );
  for (const { send } of clients) send("before");
  let isAwaited = true;
  const left = old.listener.leave({ isAwaited: () => isAwaited, graceMs: 600_000 });
  for (const { send } of clients) send("after");
  await until(() => old.arrivals.length + young.arrivals.length === 2 * clients.length);
  const own = old.arrivals.length;
  assert.ok(own > 0 && own < clients.length);
  for (const arrival of old.arrivals) assert.equal(arrival.reply(Buffer.from("old")), true);
  isAwaited = false;
  await within(left, "the end of the sockets");
  const texts = (): readonly string[] => clients.flatMap(({ received }) => received.map(({ text }) => text));
  await until(() => texts().length === 2 * clients.length);
  assert.equal(texts().filter((text) => text === "old").length, own);
});

test("sockets: one that leaves is closed at once when it is told to", async (t) => {
  const { listener } = prepare(t, ["127.0.0.1"]);
  await listener.listen({ address: "127.0.0.1", port: 0 }, await survey());
  const left = listener.leave({ isAwaited: () => true, graceMs: 600_000 });
  listener.close();
  await within(left, "the end of the sockets");
});
