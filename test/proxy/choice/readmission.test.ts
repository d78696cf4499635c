// Readmission: ejected upstreams are probed, and are back once a probe has passed.

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { DEFAULT_TRAFFIC } from "../../../src/model/service.ts";
import { NO_ACCESS_LOG } from "../../../src/proxy/access/entry.ts";
import { NO_TRACING } from "../../../src/proxy/trace/tracing.ts";
import { Active } from "../../../src/proxy/choice/active.ts";
import type { Traffic } from "../../../src/proxy/choice/attempts.ts";
import { Ejections, type Recheck } from "../../../src/proxy/choice/outlier.ts";
import { Readmission } from "../../../src/proxy/choice/readmission.ts";
import { openConnector, type Connect } from "../../../src/proxy/connect.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { TIMES } from "../../../src/proxy/proxy.ts";
import type { Pool, Upstream } from "../../../src/proxy/routes.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import { Clock, pool, rawReplica, SILENT, tcpReplica, upstream } from "../fixtures.ts";

class Bench {
  readonly clock = new Clock();
  readonly ejections = new Ejections();
  readonly readmission: Readmission;
  readonly deadlines = new Deadlines();
  /** Probes that were begun. */
  connects = 0;

  constructor(t: TestContext, pools: readonly Pool[], connect?: Connect) {
    const { nowMs } = this.clock;
    const dial = (): Promise<never> => Promise.reject(new Failure("unreachable", "no mesh in this test"));
    const direct = openConnector({ dial, deadlines: this.deadlines, nowMs, ...TIMES });
    const traffic: Traffic = {
      active: new Active(),
      access: NO_ACCESS_LOG,
      tracing: NO_TRACING,
      ejections: this.ejections,
      deadlines: this.deadlines,
      connect: (to, caller, means) => {
        this.connects += 1;
        return (connect ?? direct)(to, caller, means);
      },
      metrics: openMetrics(),
      log: SILENT,
      random: seededRandom(1),
      nowMs,
      times: TIMES,
    };
    this.readmission = new Readmission(traffic);
    this.readmission.set(pools);
    t.after(() => this.readmission.close());
  }

  eject(upstreams: readonly Upstream[], recheck: Recheck): void {
    const nowMs = this.clock.nowMs();
    for (const one of upstreams)
      this.ejections.failed(one, { reason: "connect", recheck, sentAtMs: nowMs, nowMs });
  }

  /** Lets time pass, as the proxy's timer does. */
  pass(ms: number): void {
    this.clock.pass(ms);
    this.deadlines.tick(this.clock.nowMs());
    this.readmission.tick(this.clock.nowMs());
  }

  /** Waits until the probe that is under way has an outcome. */
  async untilChecked(): Promise<void> {
    const before = this.ejections.current[0]?.untilMs;
    await until(() => this.ejections.current[0]?.untilMs !== before);
  }

  get out(): readonly string[] {
    return this.ejections.current.map(({ id }) => id);
  }
}

test("readmission: a replica that takes connections again is back in a second, and no client has asked", async (t) => {
  const sockets: Socket[] = [];
  const one = upstream("a", await tcpReplica(t, (socket) => sockets.push(socket)));
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "connect");
  on.pass(999);
  assert.equal(on.connects, 0);
  on.pass(1);
  await until(() => on.out.length === 0);
  assert.equal(sockets.length, 1);
  const [socket] = sockets;
  socket?.resume();
  await until(() => socket?.readableEnded === true);
  assert.equal(socket?.bytesRead, 0, "a connection was enough");
});

test("readmission: a replica that still refuses is asked again in twice as long", async (t) => {
  const one = upstream("a", await closedPort());
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "connect");
  for (const waitMs of [1000, 2000, 4000]) {
    const before = on.connects;
    on.pass(waitMs - 1);
    assert.equal(on.connects, before);
    on.pass(1);
    assert.equal(on.connects, before + 1);
    await on.untilChecked();
    assert.deepEqual(on.out, [one.id]);
  }
});

test("readmission: a replica that kept silent must answer a request, and any answer will do", async (t) => {
  const heads: string[] = [];
  const port = await rawReplica(t, (head, socket) => {
    heads.push(head);
    socket.end("HTTP/1.1 500 Oh\r\n\r\n");
  });
  const one = upstream("a", port);
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "request");
  on.pass(1000);
  await until(() => on.out.length === 0);
  assert.deepEqual(heads, [
    `HEAD / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: skein\r\nConnection: close\r\n\r\n`,
  ]);
  assert.equal(on.deadlines.size, 0);
});

test("readmission: a replica that takes a request and keeps silent stays out, and is not waited for", async (t) => {
  let asked = 0;
  const one = upstream("a", await rawReplica(t, () => (asked += 1)));
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "request");
  on.pass(1000);
  await until(() => asked === 1);
  on.pass(3 * TIMES.firstByteMs);
  await on.untilChecked();
  assert.deepEqual(on.out, [one.id]);
});

test("readmission: a replica that is slow to answer is back: whether it answers is asked, not how fast", async (t) => {
  const waiting: Socket[] = [];
  const one = upstream("a", await rawReplica(t, (_head, socket) => waiting.push(socket)));
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "request");
  on.pass(1000);
  await until(() => waiting.length === 1);
  on.pass(2 * TIMES.firstByteMs);
  waiting[0]?.end("HTTP/1.1 200 OK\r\n\r\n");
  await until(() => on.out.length === 0);
});

test("readmission: a replica that hangs up without an answer stays out", async (t) => {
  for (const hangUp of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
    const one = upstream("a", await rawReplica(t, (_head, socket) => void hangUp(socket)));
    const on = new Bench(t, [pool([one])]);
    on.eject([one], "request");
    on.pass(1000);
    await on.untilChecked();
    assert.deepEqual(on.out, [one.id]);
  }
});

test("readmission: where a service may keep silent for ever a connection is enough", async (t) => {
  const one = upstream("a", await tcpReplica(t, () => undefined));
  const patient = { ...pool([one]), traffic: { ...DEFAULT_TRAFFIC, firstByteMs: 0 } };
  const on = new Bench(t, [patient]);
  on.eject([one], "request");
  on.pass(1000);
  await until(() => on.out.length === 0);
  assert.equal(on.connects, 1);
});

test("readmission: when this host has no socket left the replica is not held guilty of it", async (t) => {
  const one = upstream("a", 1);
  const on = new Bench(t, [pool([one])], () => Promise.reject(new Failure("busy", "EMFILE")));
  on.eject([one], "connect");
  for (let count = 1; count < 4; count += 1) {
    on.pass(1000);
    assert.equal(on.connects, count);
    await on.untilChecked();
  }
});

test("readmission: few probes at once, however many are due, and each in its turn", async (t) => {
  const many = Array.from({ length: LIMITS.readmissionsMax + 5 }, (_, at) => upstream(`r${at}`, 1));
  const rejects: ((failure: Failure) => void)[] = [];
  const on = new Bench(t, [pool(many)], () => new Promise((_, reject) => rejects.push(reject)));
  on.eject(many, "connect");
  on.pass(1000);
  on.pass(50);
  assert.equal(on.connects, LIMITS.readmissionsMax);
  for (const reject of rejects.splice(0)) reject(new Failure("refused", "no"));
  await until(() => {
    on.readmission.tick(on.clock.nowMs());
    return on.connects === many.length;
  });
});

test("readmission: who has left the table is not probed, and is forgotten", async (t) => {
  const one = upstream("a", 1);
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "connect");
  on.readmission.set([pool()]);
  on.pass(1000);
  assert.deepEqual([on.connects, on.out], [0, []]);
});

test("readmission: who came with a later table is probed as well, and where it is now", async (t) => {
  const [one, other] = [upstream("a", 1), upstream("b", 1)];
  const asked: string[] = [];
  const on = new Bench(t, [pool([one])], (to) => {
    asked.push(`${to.id} ${to.port}`);
    return Promise.reject(new Failure("refused", "no"));
  });
  on.eject([one], "connect");
  on.readmission.set([pool([one])]);
  on.readmission.set([pool([{ ...one, port: 2 }, other])]);
  on.eject([other], "connect");
  on.pass(1000);
  assert.deepEqual(asked, ["a:1 2", "b:1 1"]);
});

test("readmission: after closing nobody is probed, and what was under way is ended", async (t) => {
  const sockets: Socket[] = [];
  const one = upstream("a", await tcpReplica(t, (socket) => sockets.push(socket.resume())));
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "request");
  on.pass(1000);
  await until(() => sockets.length === 1 && (sockets[0]?.bytesRead ?? 0) > 0);
  on.readmission.close();
  await until(() => sockets[0]?.readableEnded === true);
  on.pass(60_000);
  assert.equal(on.connects, 1);
});

test("readmission: a probe that still connects when the proxy closes is given up", async (t) => {
  const one = upstream("a", await tcpReplica(t, () => undefined));
  const on = new Bench(t, [pool([one])]);
  on.eject([one], "connect");
  on.pass(1000);
  assert.equal(on.deadlines.size, 1);
  on.readmission.close();
  assert.equal(on.deadlines.size, 0, "nobody waits for it any more");
});
