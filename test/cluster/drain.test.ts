// Draining: a replica is taken out from any host, and whoever waits is told the truth about who has heard.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import test from "node:test";

import type { NodeDrainResult } from "../../src/admin/contract-live.ts";
import type { DrainResult, EventLine } from "../../src/admin/contract.ts";
import { openEngine, containerEvent, type FakeContainer } from "../support/engine.ts";
import type { DaemonUnderTest, Ending, WebReplica } from "../support/daemons.ts";
import { until, within } from "../support/wait.ts";

import {
  doorAt,
  expectEven,
  explainReplica,
  membersOf,
  prepareCluster,
  startAll,
  tally,
  tasksOf,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { joinAs } from "./fake-member.ts";
import { steadyLoad } from "./load.ts";

/** A web replica as a container of a fake engine. */
function containerOf(replica: WebReplica, digit: string, startedAt: string): FakeContainer {
  const labels = { "skein.service": "web", "skein.port": `8000:${replica.port}/http` };
  return {
    id: digit.repeat(64),
    name: replica.name.replace(".", "-"),
    address: replica.address,
    labels,
    startedAt,
  };
}

/** A connection that lives on until it is closed, with one request after the other over it. */
interface Kept {
  readonly ask: () => Promise<string>;
  readonly close: () => void;
}

async function openKept(t: Ending, host: string, port: number): Promise<Kept> {
  const socket = connect({ host, port });
  t.after(() => socket.destroy());
  await within(once(socket, "connect"), "the connection is open");
  return {
    async ask() {
      socket.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
      const [chunk] = (await within(once(socket, "data"), "an answer")) as [Buffer];
      return /\r\n\r\n(?:[0-9a-f]+\r\n)?(\S+)/.exec(chunk.toString())?.[1] ?? "";
    },
    close: () => socket.destroy(),
  };
}

test("cluster: draining replicas on three hosts", async (t) => {
  const { block, hosts } = await prepareCluster(t, { role: "manager" });
  const [first, second, third] = hosts;
  const [[one, two] = [], [three] = [], [four] = []] = await webReplicas(t, block, [2, 1, 1]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined && four !== undefined);
  const all = [one, two, three, four];
  const engine = await openEngine([
    containerOf(one, "a", "2026-01-01T00:00:00Z"),
    containerOf(two, "b", "2026-01-01T00:00:00Z"),
  ]);
  t.after(() => engine.close());
  engine.networks = [];
  const raw = { name: "raw", ports: [{ port: 8000 }], publish: ["8089:8000"] };
  const publish = ["8088:8000"];
  first.configure({ docker: { socket: engine.socketPath } });
  second.configure({ services: [webService([three], { publish })] });
  third.configure({ services: [webService([four], { publish }), webService([three, four], raw)] });
  await startAll(hosts);
  await untilServing(hosts, all);
  await untilServing(hosts, [three, four], { service: "raw" });
  const doors = hosts.map((host) => doorAt(host, 8088));
  for (const door of doors) await untilOpen(door);
  const idOf = async (replica: WebReplica): Promise<string> => {
    return (await explainReplica(first, replica.address)).id;
  };
  const drainOn = async (host: DaemonUnderTest, replica: WebReplica, ...flags: string[]) => {
    const ran = await host.cli("drain", await idOf(replica), ...flags, "-o", "json");
    return { ...ran, result: JSON.parse(ran.stdout) as DrainResult };
  };

  await t.test(
    "on its own host, under load: exit 0 once nobody sends it anything, and nothing fails",
    async () => {
      const load = steadyLoad(t, doors);
      await load.more(30);
      const { code, result } = await drainOn(first, one, "--wait");
      assert.equal(code, 0);
      assert.deepEqual(result, { replica: await idOf(one), applied: true, pending: [] });
      const servedBefore = one.served;
      for (const host of hosts) assert.ok(!(await tasksOf(host)).includes(one.address), host.name);
      await load.more(60);
      await load.stop();
      assert.equal(one.served, servedBefore);
      for (const door of doors) await expectEven(door, [two, three, four]);
    },
  );

  await t.test("it tells of itself on every host", async () => {
    for (const host of hosts) {
      const told = await explainReplica(host, one.address);
      assert.equal(told.eligible, false);
      assert.equal(told.state, "draining");
      assert.match(told.reason, /drained by command/);
    }
  });

  await t.test("a drain outlives a restart of the daemon; a container started again is back", async () => {
    await first.end("SIGTERM");
    await first.start();
    await untilServing(hosts, [two, three, four]);
    assert.equal((await explainReplica(second, one.address)).state, "draining");
    engine.containers.set("a".repeat(64), containerOf(one, "a", "2026-01-02T00:00:00Z"));
    engine.emit(containerEvent("a".repeat(64), "start"));
    await untilServing(hosts, all);
    for (const door of doors) await expectEven(door, all);
  });

  await t.test("from another host: exit 0 all the same; what is connected stays connected", async () => {
    const kept = await Promise.all([1, 2].map(() => openKept(t, third.address, 8089)));
    const names = await Promise.all(kept.map(({ ask }) => ask()));
    assert.deepEqual(names.toSorted(), [three.name, four.name]);
    const raw3 = (await explainReplica(first, three.address, "raw")).id;
    assert.equal((await first.cli("drain", raw3, "--wait")).code, 0);
    for (const host of hosts) assert.deepEqual(await tasksOf(host, "raw"), [four.address]);
    assert.deepEqual(await tally(doorAt(third, 8089), 6), { [four.name]: 6 });
    assert.deepEqual(await Promise.all(kept.map(({ ask }) => ask())), names);
    for (const { close } of kept) close();
  });

  await t.test(
    "a static replica stays drained through a restart of its daemon, until it is undone",
    async () => {
      await third.end("SIGTERM");
      await third.start();
      await untilServing(hosts, [four], { service: "raw" });
      const raw3 = await explainReplica(first, three.address, "raw");
      assert.equal(raw3.state, "draining");
      assert.equal((await third.cli("drain", raw3.id, "--undo")).code, 0);
      await untilServing(hosts, [three, four], { service: "raw" });
      await untilServing(hosts, all);
    },
  );

  await t.test("without --wait: exit 0 at once, and it happens all the same", async () => {
    assert.equal((await drainOn(second, two)).code, 0);
    await untilServing(hosts, [one, three, four]);
    assert.equal((await drainOn(second, two, "--wait")).code, 0, "drained twice is drained");
  });

  await t.test("--undo, from another host: it serves again everywhere", async () => {
    assert.equal((await first.cli("drain", await idOf(two), "--undo")).code, 0);
    await untilServing(hosts, all);
    assert.equal((await drainOn(second, two)).code, 0);
    await untilServing(hosts, [one, three, four]);
  });

  await t.test(
    "all of a host, from another one, under load: nothing fails, and a restart keeps it",
    async () => {
      const load = steadyLoad(t, doors);
      await load.more(30);
      const drained = await second.cli("node", "drain", "host-1", "--wait", "-o", "json");
      assert.equal(drained.code, 0, drained.stderr);
      const { id: _, ...told } = JSON.parse(drained.stdout) as NodeDrainResult;
      const expected = { node: "host-1", draining: true, replicas: 2, applied: true, pending: [] };
      assert.deepEqual(told, expected);
      const servedBefore = [one.served, two.served];
      await load.more(60);
      await load.stop();
      assert.deepEqual([one.served, two.served], servedBefore);
      for (const host of hosts) {
        const shown = (await membersOf(host)).find(({ name }) => name === "host-1");
        assert.deepEqual([shown?.state, shown?.draining], ["alive", true], host.name);
      }
      const why = await third.cli("explain", "web");
      assert.match(why.stdout, /draining .* its node is drained by command \(applied everywhere\)/);
      await first.end("SIGTERM");
      await first.start();
      await until(async () => (await explainReplica(second, one.address)).state === "draining");
      const alone = await first.cli("drain", await idOf(one), "--undo");
      assert.equal(alone.code, 1);
      assert.match(alone.stderr, /its node is drained by command; .*skein node activate host-1/);
    },
  );

  await t.test("activated: what was drained by itself stays out, all else is back", async () => {
    const back = await second.cli("node", "activate", "host-1");
    assert.deepEqual([back.code, back.stderr], [0, ""]);
    await untilServing(hosts, [one, three, four]);
    const events = (await third.get("/api/v1/events")) as readonly EventLine[];
    const ofHost = events.filter(({ subject, kind }) => subject === "host-1" && /drain|activ/.test(kind));
    assert.deepEqual(
      ofHost.map(({ kind }) => kind),
      ["member.draining", "member.activated"],
    );
  });

  await t.test("an unknown replica: exit 3, and a near name is offered", async () => {
    const unknown = await first.cli("drain", "nosuch", "--wait");
    assert.equal(unknown.code, 3);
    assert.match(unknown.stderr, /nosuch/);
    const near = await first.cli("drain", "web-1-3");
    assert.equal(near.code, 3);
    assert.match(near.stderr, /web-1-[12]/);
  });

  await t.test("a frozen member holds it up until it is given up, and no longer", async () => {
    const eventsOf = async () => (await second.get("/api/v1/events")) as readonly EventLine[];
    const lastEvent = (await eventsOf()).at(-1)?.id ?? 0;
    third.signal("SIGSTOP");
    try {
      const { code, result } = await drainOn(first, three, "--wait");
      assert.deepEqual([code, result.applied, result.pending], [0, true, []]);
    } finally {
      third.signal("SIGCONT");
    }
    // In the words of its owner: it was applied once nobody was left who still might send something.
    const since = (await eventsOf()).filter(({ id }) => id > lastEvent);
    const dead = since.find(({ kind, subject }) => kind === "member.dead" && subject === "host-3");
    const drained = since.find(({ kind }) => kind === "replica.drained");
    assert.ok(dead !== undefined && drained !== undefined && dead.id < drained.id, JSON.stringify(since));
    await until(async () => (await explainReplica(third, three.address)).state === "draining");
  });

  await t.test(
    "a member that never applies it: exit 4 after 10 s, by name, on the owner and elsewhere",
    async () => {
      const deaf = await joinAs(t, "deaf", first);
      await until(() => deaf.received.some(({ kind }) => kind === "ping"), {
        what: "deaf is taken for alive",
      });
      const ran = await Promise.all([first, second].map((host) => drainOn(host, one, "--wait")));
      for (const { code, result, stderr } of ran) {
        assert.equal(code, 4);
        assert.equal(result.applied, false);
        assert.deepEqual(result.pending, ["deaf"]);
        assert.match(stderr, /deaf/);
      }
      const told = async (): Promise<string> => (await third.cli("explain", "web")).stdout;
      await until(async () => (await told()).includes("drained by command (not applied by deaf)"));
      assert.ok(deaf.isOpen());
    },
  );
});
