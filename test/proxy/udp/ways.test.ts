// Ways: datagrams to replicas of other hosts, over ways that the test opens, holds back and breaks.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import type { DatagramReceiver, DatagramWay } from "../../../src/model/datagram.ts";
import type { Upstream } from "../../../src/proxy/routes.ts";
import { Ways, type SenderReceiver } from "../../../src/proxy/udp/ways.ts";
import { askUdp, closedUdpPort, namedUdp, openUdp } from "../../support/udp.ts";
import { until } from "../../support/wait.ts";

import { Clock, pool, serveOne, upstream } from "../fixtures.ts";

/** A way as the mesh opens one; its far end is the test. */
class FarEnd implements DatagramWay {
  readonly upstream: Upstream;
  readonly receiver: DatagramReceiver;
  readonly sent: string[] = [];
  readonly ended: number[] = [];
  isClosed = false;

  constructor(to: Upstream, receiver: DatagramReceiver) {
    this.upstream = to;
    this.receiver = receiver;
  }

  send(flow: number, payload: Uint8Array): boolean {
    this.sent.push(`${flow}: ${Buffer.from(payload).toString()}`);
    return true;
  }

  end(flow: number): void {
    this.ended.push(flow);
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Opens ways when it is let. */
class Mesh {
  readonly ends: FarEnd[] = [];
  readonly #waiting: (() => void)[] = [];
  isHeld = false;
  refusal: Failure | null = null;

  readonly dial = (to: Upstream, { receiver }: { receiver: DatagramReceiver }): Promise<DatagramWay> => {
    return new Promise((resolve, reject) => {
      const answer = (): void => {
        if (this.refusal !== null) return reject(this.refusal);
        const end = new FarEnd(to, receiver);
        this.ends.push(end);
        resolve(end);
      };
      if (this.isHeld) this.#waiting.push(answer);
      else answer();
    });
  };

  /** Answers who waits. */
  release(): void {
    this.isHeld = false;
    for (const answer of this.#waiting.splice(0)) answer();
  }
}

const FAR = upstream("far", 53, { id: "far:53/udp", via: "stream", nodeName: "host-2" });

/** Hears what becomes of one flow. */
function hearing(): SenderReceiver & { readonly heard: string[] } {
  const heard: string[] = [];
  return {
    heard,
    sent: (payload) => void heard.push(`sent ${payload.toString()}`),
    unanswered: () => [],
    answered: (payload) => void heard.push(`answered ${payload.toString()}`),
    failed: (cause, unsent) => void heard.push(`failed ${cause.code} ${unsent.join(" ")}`.trim()),
  };
}

function openWays(t: TestContext, mesh: Mesh, clock = new Clock()): Ways {
  const ways = new Ways({ dial: mesh.dial, nowMs: clock.nowMs, streamMs: 1000 });
  t.after(() => ways.close());
  return ways;
}

const bytes = (text: string): Buffer => Buffer.from(text);

test("ways: all flows to one upstream share a way, and each hears its own answers", async (t) => {
  const mesh = new Mesh();
  const ways = openWays(t, mesh);
  const [one, other] = [hearing(), hearing()];
  const first = ways.open(FAR, one);
  const second = ways.open(FAR, other);
  await until(() => mesh.ends.length === 1);
  first.send(bytes("a"));
  second.send(bytes("b"));
  const [end] = mesh.ends;
  assert.deepEqual(end?.sent, ["1: a", "2: b"]);
  end.receiver.answered(2, bytes("B"));
  assert.deepEqual([one.heard, other.heard], [["sent a"], ["sent b", "answered B"]]);
  first.close();
  assert.deepEqual(end.ended, [1]);
  end.receiver.answered(1, bytes("late"));
  assert.deepEqual(one.heard, ["sent a"], "who left hears nothing");
});

test("ways: what is sent before the way is open leaves when it is, a few of each flow", async (t) => {
  const mesh = new Mesh();
  mesh.isHeld = true;
  const ways = openWays(t, mesh);
  const one = hearing();
  const sender = ways.open(FAR, one);
  const taken = ["a", "b", "c", "d", "e"].map((text) => sender.send(bytes(text)));
  assert.deepEqual(taken, [true, true, true, true, false]);
  assert.deepEqual(one.heard, []);
  mesh.release();
  await until(() => mesh.ends[0]?.sent.length === 4);
  assert.deepEqual(one.heard, ["sent a", "sent b", "sent c", "sent d"]);
});

test("ways: a way that cannot be opened gives back what waited for it", async (t) => {
  const mesh = new Mesh();
  mesh.refusal = new Failure("not-found", "an older daemon");
  const ways = openWays(t, mesh);
  const one = hearing();
  ways.open(FAR, one).send(bytes("a"));
  await until(() => one.heard.length > 0);
  assert.deepEqual(one.heard, ["failed not-found a"]);
});

test("ways: one that breaks is opened anew, and what it may have lost goes again", async (t) => {
  const mesh = new Mesh();
  const clock = new Clock();
  const ways = openWays(t, mesh, clock);
  const one = { ...hearing(), unanswered: () => [bytes("a")] };
  const sender = ways.open(FAR, one);
  await until(() => mesh.ends.length === 1);
  clock.pass(5000);
  sender.send(bytes("a"));
  mesh.ends[0]?.receiver.broke("its daemon was replaced");
  sender.send(bytes("b"));
  await until(() => mesh.ends[1]?.sent.length === 2);
  assert.deepEqual(mesh.ends[1]?.sent, ["1: a", "1: b"]);
  assert.deepEqual(one.heard, ["sent a", "sent a", "sent b"]);
});

test("ways: one that breaks as soon as it is open fails each of its flows once; the next opens another", async (t) => {
  const mesh = new Mesh();
  const ways = openWays(t, mesh);
  const [one, other] = [hearing(), hearing()];
  ways.open(FAR, one);
  ways.open(FAR, other);
  await until(() => mesh.ends.length === 1);
  mesh.ends[0]?.receiver.broke("its host is gone");
  assert.deepEqual([one.heard, other.heard], [["failed unreachable"], ["failed unreachable"]]);
  assert.equal(mesh.ends.length, 1);
  const again = ways.open(FAR, hearing());
  await until(() => mesh.ends.length === 2);
  again.send(bytes("a"));
  assert.deepEqual(mesh.ends[1]?.sent, ["1: a"]);
});

test("ways: a refusal is told to every flow to that upstream, and to no other", async (t) => {
  const mesh = new Mesh();
  const ways = openWays(t, mesh);
  const [one, other, elsewhere] = [hearing(), hearing(), hearing()];
  const first = ways.open(FAR, one);
  ways.open(FAR, other);
  ways.open({ ...FAR, id: "far-2:53/udp", address: "172.17.0.9" }, elsewhere);
  await until(() => mesh.ends.length === 2);
  mesh.ends[0]?.receiver.refused(1);
  assert.deepEqual([one.heard, other.heard, elsewhere.heard], [["failed refused"], ["failed refused"], []]);
  assert.equal(first.send(bytes("a")), false);
  const later = hearing();
  ways.open(FAR, later);
  mesh.ends[0]?.receiver.refused(2);
  assert.deepEqual(later.heard, [], "who came since tries for itself");
});

test("ways: a flow for which there is no room ends, the others go on", async (t) => {
  const mesh = new Mesh();
  const ways = openWays(t, mesh);
  const [one, other] = [hearing(), hearing()];
  ways.open(FAR, one);
  const second = ways.open(FAR, other);
  await until(() => mesh.ends.length === 1);
  mesh.ends[0]?.receiver.ended(1);
  assert.deepEqual([one.heard, other.heard], [["failed busy"], []]);
  assert.equal(second.send(bytes("b")), true);
});

test("ways: one socket that is refused speaks for all of them to that upstream", async (t) => {
  const ways = openWays(t, new Mesh());
  const to = upstream("near", await closedUdpPort(t));
  const [silent, refused] = [hearing(), hearing()];
  ways.open(to, silent);
  ways.open(to, refused).send(bytes("a"));
  await until(() => silent.heard.length > 0);
  assert.deepEqual([silent.heard, refused.heard], [["failed refused"], ["sent a", "failed refused"]]);
});

test("ways: one without flows is kept for a minute, in which the next flow finds it open", async (t) => {
  const mesh = new Mesh();
  const clock = new Clock();
  const ways = openWays(t, mesh, clock);
  ways.open(FAR, hearing()).close();
  await until(() => mesh.ends.length === 1);
  clock.pass(50_000);
  ways.sweep();
  const sender = ways.open(FAR, hearing());
  assert.equal(sender.send(bytes("a")), true);
  clock.pass(120_000);
  ways.sweep();
  assert.equal(mesh.ends[0]?.isClosed, false, "it is in use");
  sender.close();
  clock.pass(61_000);
  ways.sweep();
  assert.equal(mesh.ends[0]?.isClosed, true);
});

test("ways: an upstream that came back elsewhere gets a way of its own", async (t) => {
  const mesh = new Mesh();
  const ways = openWays(t, mesh);
  ways.open(FAR, hearing());
  ways.open({ ...FAR, address: "172.17.0.9" }, hearing());
  await until(() => mesh.ends.length === 2);
  assert.deepEqual(
    mesh.ends.map((end) => end.upstream.address),
    [FAR.address, "172.17.0.9"],
  );
});

test("udp: a host that cannot be asked costs a client nothing where another replica answers", async (t) => {
  const mesh = new Mesh();
  mesh.refusal = new Failure("unreachable", "no such host");
  const near = await namedUdp(t, "near");
  const own = pool([FAR, upstream("near", near.port, { id: `near:${near.port}/udp` })]);
  const { port } = await serveOne(t, "udp", { ...own, protocol: "udp" }, { dialDatagrams: mesh.dial });
  for (let at = 0; at < 4; at += 1) assert.equal(await askUdp(await openUdp(t), port, "?"), "near ?");
});

test("udp: a replica of another host that refuses: the datagram reaches one that does not", async (t) => {
  const mesh = new Mesh();
  const near = await namedUdp(t, "near");
  const own = pool([FAR, upstream("near", near.port, { id: `near:${near.port}/udp` })]);
  const { port } = await serveOne(t, "udp", { ...own, protocol: "udp" }, { dialDatagrams: mesh.dial });
  const clients = [await openUdp(t), await openUdp(t)];
  for (const client of clients) client.socket.send("?", port);
  await until(() => mesh.ends[0]?.sent.length === 1);
  mesh.ends[0]?.receiver.refused(1);
  await until(() => clients.every(({ received }) => received[0]?.text === "near ?"));
});
