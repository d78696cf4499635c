// Pool: which connections to an upstream are kept, for how long, and how many are opened at once.

import assert from "node:assert/strict";
import { duplexPair, type Duplex } from "node:stream";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { Failure } from "../../../../src/base/failure.ts";
import { LIMITS } from "../../../../src/model/limits.ts";
import type { Connect } from "../../../../src/proxy/connect.ts";
import { until } from "../../../support/wait.ts";

import { tcpReplica, upstream } from "../../fixtures.ts";

import { countingReplica, ended, openBench, send, type Course } from "./bench.ts";

function codeOf({ cause }: Course): string {
  return cause instanceof Failure ? cause.code : "none";
}

test("pool: an eligible upstream keeps its connection, any other's is closed after use", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  for (let count = 0; count < 3; count += 1) await ended(send(on, to));
  assert.equal(replica.opened(), 1);
  assert.deepEqual(on.pools.sizes, { idle: 1, busy: 0 });
  await ended(send(on, upstream("b", replica.port)));
  await until(() => replica.sockets.size === 1);
  assert.deepEqual(on.pools.sizes, { idle: 1, busy: 0 });
});

test("pool: an upstream that rests, has moved, or is relayed by a new daemon loses its connections", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  for (const next of [[], [{ ...to, address: "127.0.0.9" }], [{ ...to, relayLife: 2 }]]) {
    on.pools.setEligible([to]);
    await ended(send(on, to));
    assert.equal(on.pools.sizes.idle, 1);
    on.pools.setEligible(next);
    await until(() => replica.sockets.size === 0);
  }
});

test("pool: a busy connection of an upstream that leaves closes after its answer", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t, (socket) => {
    on.pools.setEligible([]);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  const course = send(on, to);
  assert.deepEqual(await ended(course), ["connected", "answered 200", "ended"]);
  await until(() => replica.sockets.size === 0);
});

test("pool: `warm` takes a connection that was in use within a second, `new` takes none", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  const opens = async (freshness: "any" | "warm" | "new"): Promise<boolean> => {
    const before = replica.opened();
    await ended(send(on, to, { freshness }));
    return replica.opened() > before;
  };
  assert.equal(await opens("warm"), true);
  on.now += 999;
  assert.equal(await opens("warm"), false);
  on.now += 1000;
  assert.equal(await opens("any"), false);
  on.now += 1000;
  assert.equal(await opens("warm"), true);
  assert.equal(await opens("new"), true);
});

test("pool: the one used last is used first, and what nobody uses for 4 s is closed", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  await Promise.all([send(on, to), send(on, to)].map(ended));
  assert.equal(on.pools.sizes.idle, 2);
  on.now += 3000;
  on.tick();
  await ended(send(on, to));
  on.now += 1000;
  on.tick();
  assert.equal(on.pools.sizes.idle, 1);
  on.now += 3000;
  on.tick();
  assert.equal(on.pools.sizes.idle, 0);
  await until(() => replica.sockets.size === 0);
});

test("pool: an idle time that the upstream announces is kept to, with a second to spare", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t, "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=3\r\n\r\n");
  const brief = await countingReplica(t, "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=1\r\n\r\n");
  const [to, other] = [upstream("a", replica.port), upstream("b", brief.port)];
  on.pools.setEligible([to, other]);
  await ended(send(on, other));
  assert.equal(on.pools.sizes.idle, 0);
  await ended(send(on, to));
  on.now += 1999;
  on.tick();
  assert.equal(on.pools.sizes.idle, 1);
  on.now += 1;
  on.tick();
  assert.equal(on.pools.sizes.idle, 0);
});

test("pool: an idle connection on which the upstream ends, or speaks, is not used again", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  for (const speak of ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"]) {
    await ended(send(on, to));
    await until(() => on.pools.sizes.idle === 1);
    for (const socket of replica.sockets) {
      if (speak === "") socket.end();
      else socket.write(speak);
    }
    await until(() => on.pools.sizes.idle === 0);
    assert.deepEqual(await ended(send(on, to)), ["connected", "answered 204", "ended"]);
  }
});

test("pool: after a burst no more connections stay than the bound", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  const burst = LIMITS.upstreamIdleSocketsMax + 20;
  await Promise.all(Array.from({ length: burst }, () => ended(send(on, to))));
  await until(() => replica.sockets.size <= LIMITS.upstreamIdleSocketsMax);
  assert.equal(on.pools.sizes.busy, 0);
});

test("pool: where upstreams are told who calls, each request has a connection that says so", async (t) => {
  const on = openBench(t);
  const received: string[] = [];
  const port = await tcpReplica(t, (socket) => {
    socket.once("data", (chunk: Buffer) => {
      received.push(chunk.toString("latin1").split("\r\n")[0] ?? "");
      socket.write("HTTP/1.1 204 No Content\r\n\r\n");
    });
  });
  const to = upstream("a", port, { proxyProtocol: "v1" });
  on.pools.setEligible([to]);
  for (let count = 0; count < 2; count += 1) await ended(send(on, to));
  const header = "PROXY TCP4 127.0.0.1 127.0.0.1 40000 8080";
  assert.deepEqual(received, [header, header]);
  assert.deepEqual(on.pools.sizes, { idle: 0, busy: 0 });
});

/** Dials that are let through by hand, and the far ends of their streams. */
function heldDials(): {
  readonly connect: Connect;
  readonly held: ((outcome?: Failure) => void)[];
  readonly far: Duplex[];
} {
  const held: ((outcome?: Failure) => void)[] = [];
  const far: Duplex[] = [];
  const connect: Connect = () =>
    new Promise((resolve, reject) => {
      held.push((failure) => {
        if (failure !== undefined) {
          reject(failure);
          return;
        }
        const [near, other] = duplexPair();
        far.push(other);
        // Once the request counts as written, as over a network.
        other.on("data", () => void setImmediate(() => other.write("HTTP/1.1 204 No Content\r\n\r\n")));
        resolve(near);
      });
    });
  return { connect, held, far };
}

test("pool: few streams to another host are opened at once; the rest wait for whichever comes first", async (t) => {
  const { connect, held, far } = heldDials();
  const on = openBench(t, { dial: connect });
  const to = upstream("a", 80, { via: "stream" });
  on.pools.setEligible([to]);
  const courses = Array.from({ length: 3 * LIMITS.streamDialsMax }, () => send(on, to));
  assert.equal(held.length, LIMITS.streamDialsMax);
  held[0]?.();
  // One stream serves all of them, one after the other.
  for (const course of courses) assert.deepEqual(await ended(course), ["connected", "answered 204", "ended"]);
  assert.equal(far.length, 1);
  // Those that open for nobody are kept.
  for (const open of held.slice(1)) open();
  await until(() => on.pools.sizes.idle === held.length);
});

test("pool: who waits for a stream waits for a second at most, and leaves the queue when it gives up", async (t) => {
  const { connect, held } = heldDials();
  const on = openBench(t, { dial: connect });
  const to = upstream("a", 80, { via: "stream" });
  on.pools.setEligible([to]);
  const [given, ...others] = Array.from({ length: LIMITS.streamDialsMax + 2 }, () => send(on, to));
  given?.attempt.abandon();
  on.now += 999;
  on.tick();
  assert.deepEqual(
    others.flatMap(({ events }) => events),
    [],
  );
  on.now += 1;
  on.tick();
  for (const course of others) assert.deepEqual(await ended(course), ["failed connect unsent"]);
  // Two had no stream asked for in their time: the upstream had no part in that.
  assert.deepEqual(others.map(codeOf), [...Array(LIMITS.streamDialsMax - 1).fill("timeout"), "busy", "busy"]);
  for (const open of held) open();
  await until(() => on.pools.sizes.idle === held.length);
  assert.deepEqual(given?.events, []);
});

test("pool: who waits in vain for an upstream that takes streams has met our queue, not a dead upstream", async (t) => {
  const { connect, held } = heldDials();
  const on = openBench(t, { dial: connect });
  const to = upstream("a", 80, { via: "stream" });
  on.pools.setEligible([to]);
  const holder = send(on, to, { hasBody: true });
  const waiting = send(on, to);
  held[1]?.();
  await until(() => holder.events.includes("connected"));
  on.now += 1000;
  on.tick();
  assert.deepEqual(await ended(waiting), ["failed connect unsent"]);
  assert.equal(codeOf(waiting), "busy");
});

test("pool: a dial that fails is one request's failure; the next of those that wait is dialled for", async (t) => {
  const { connect, held } = heldDials();
  const on = openBench(t, { dial: connect });
  const to = upstream("a", 80, { via: "stream" });
  on.pools.setEligible([to]);
  const courses = Array.from({ length: LIMITS.streamDialsMax + 1 }, () => send(on, to));
  held[0]?.(new Failure("refused", "no"));
  assert.deepEqual(await ended(courses[0] ?? assert.fail()), ["failed connect unsent"]);
  await nextTurn();
  assert.equal(held.length, LIMITS.streamDialsMax + 1);
  for (const open of held.slice(1)) open();
  for (const course of courses.slice(1))
    assert.deepEqual(await ended(course), ["connected", "answered 204", "ended"]);
});

test("pool: close ends what is open and what opens afterwards", async (t) => {
  const { connect, held, far } = heldDials();
  const on = openBench(t, { dial: connect });
  const to = upstream("a", 80);
  on.pools.setEligible([to]);
  const course = send(on, to);
  on.pools.close();
  held[0]?.();
  await until(() => far.length === 1);
  assert.deepEqual(await ended(course), ["connected", "failed died"]);
  assert.deepEqual(on.pools.sizes, { idle: 0, busy: 0 });
});
