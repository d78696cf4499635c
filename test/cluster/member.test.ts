// A daemon's troubles: killed, restarted, frozen; what the other hosts see, and what their clients notice.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import type { EventLine, MemberLine } from "../../src/admin/contract.ts";
import type { DaemonUnderTest } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  ask,
  doorAt,
  expectEven,
  explain,
  explainReplica,
  membersOf,
  prepareCluster,
  startAll,
  stateOf,
  tally,
  untilAlive,
  untilOpen,
  untilRefused,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

/** The bar for a crashed daemon. */
const DETECTED_MS = 3000;

function incarnationOf(host: DaemonUnderTest): number {
  const file = JSON.parse(readFileSync(join(host.dataDir, "state.json"), "utf8")) as {
    value: { incarnation: number };
  };
  return file.value.incarnation;
}

async function memberOf(host: DaemonUnderTest, name: string): Promise<MemberLine | undefined> {
  return (await membersOf(host)).find((member) => member.name === name);
}

async function eventsOf(host: DaemonUnderTest): Promise<readonly EventLine[]> {
  return (await host.get("/api/v1/events")) as readonly EventLine[];
}

test("cluster: trouble with one daemon of three", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const replicas = (await webReplicas(t, block, [1, 1, 1])).flat();
  const [one, two, three] = replicas;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  for (const [index, host] of hosts.entries()) {
    const own = replicas.slice(index, index + 1);
    const solo = host === second ? [webService(own, { name: "solo", publish: ["8089:8000"] })] : [];
    host.configure({ services: [webService(own, { publish: ["8088:8000"] }), ...solo] });
  }
  await startAll(hosts);
  await untilServing(hosts, replicas);
  const door = doorAt(first, 8088);
  await untilOpen(door);
  const { vip } = await explain(first);
  const idOf = async (host: DaemonUnderTest): Promise<string | undefined> =>
    (await membersOf(host)).find(({ self }) => self)?.id;
  const ids = await Promise.all(hosts.map(idOf));

  await t.test(
    "killed: its replicas are out within 3 s, the name keeps its VIP, no request fails",
    async () => {
      const load = steadyLoad(t, [door]);
      await load.more(20);
      await third.end("SIGKILL");
      await untilServing([first, second], [one, two], { deadlineMs: DETECTED_MS });
      for (const host of [first, second]) {
        assert.deepEqual(await host.lookup("web"), [vip]);
        await until(async () => (await stateOf(host, "host-3")) === "dead", { deadlineMs: DETECTED_MS });
        const told = await explainReplica(host, three.address);
        assert.equal(told.reason, "node host-3 is dead");
        assert.equal(told.saidBy, host.name);
      }
      await load.more(20);
      await load.stop();
    },
  );

  await t.test("started again: it is the same node in a new life, and its replicas are back", async () => {
    const before = incarnationOf(third);
    await third.start();
    for (const host of hosts) await untilAlive(host, hosts);
    await untilServing(hosts, replicas);
    assert.equal(await idOf(third), ids[2]);
    assert.ok(incarnationOf(third) > before, `${incarnationOf(third)} is more than ${before}`);
    assert.deepEqual(await third.lookup("web"), [vip]);
    await expectEven(door, replicas);
  });

  await t.test(
    "stopped by a signal, under load that enters elsewhere: away at once, and no request fails",
    async () => {
      const [soloVip] = await first.lookup("solo");
      const load = steadyLoad(t, [door, doorAt(third, 8088)]);
      await load.more(40);
      assert.equal(await second.end("SIGTERM"), 0);
      for (const host of [first, third]) assert.equal(await stateOf(host, "host-2"), "away", host.name);
      await untilServing([first, third], [one, three]);
      await load.more(40);
      await load.stop();
      for (const host of [first, third]) {
        // Names and addresses wait for its return, also of what runs nowhere else.
        assert.deepEqual(await host.lookup("web"), [vip]);
        assert.deepEqual(await host.lookup("solo"), [soloVip]);
        const told = await explainReplica(host, two.address, "solo");
        assert.deepEqual([told.reason, told.saidBy], ["node host-2 is away", host.name]);
      }
    },
  );

  await t.test(
    "started again in time: alive, its replicas back, and nobody holds it against them",
    async () => {
      const { incarnation } = (await memberOf(first, "host-2")) ?? { incarnation: 0 };
      await second.start();
      for (const host of hosts) await untilAlive(host, hosts);
      await untilServing(hosts, replicas);
      const back = await memberOf(first, "host-2");
      assert.ok(back !== undefined && back.incarnation > incarnation);
      assert.equal(back.settlesAtMs, null);
      const kinds = (await eventsOf(first))
        .filter(({ subject }) => subject === "host-2")
        .map(({ kind }) => kind);
      assert.deepEqual(
        kinds.filter((kind) => kind === "member.away" || kind === "member.left"),
        ["member.away"],
      );
    },
  );

  await t.test("stopped cleanly while it relays an answer: the answer arrives whole", async () => {
    await untilServing([first], [two], { service: "solo" });
    two.silent = true;
    const asked = ask(doorAt(first, 8089));
    await until(() => two.held() === 1, { what: "the request is at the replica" });
    const ended = second.end("SIGTERM");
    await untilRefused(doorAt(second, 8088));
    const meanwhile = await tally(door, 60);
    assert.equal(meanwhile[two.name], undefined);
    two.release();
    assert.equal(await asked, two.name);
    assert.equal(await ended, 0);
    await second.start();
    await untilServing(hosts, replicas);
  });

  await t.test("killed and started again: a service that runs only there never loses its name", async () => {
    const [soloVip] = await first.lookup("solo");
    const lastEvent = (await eventsOf(first)).at(-1)?.id ?? 0;
    await second.end("SIGKILL");
    await until(async () => (await stateOf(first, "host-2")) === "dead", { what: "host-2 is dead" });
    assert.deepEqual(await first.lookup("solo"), [soloVip]);
    await second.start();
    await untilServing([first], [two], { service: "solo" });
    const since = (await eventsOf(first)).filter(({ id }) => id > lastEvent);
    const gone = since.filter(({ kind }) => kind === "service.removed" || kind === "replica.gone");
    assert.deepEqual(gone, []);
    assert.deepEqual(await first.lookup("solo"), [soloVip]);
    await untilServing(hosts, replicas);
  });

  await t.test("frozen: suspected, given up, and believed again; on waking it gives up nobody", async () => {
    for (const host of hosts) await untilAlive(host, hosts);
    const lastEvent = (await eventsOf(third)).at(-1)?.id ?? 0;
    third.signal("SIGSTOP");
    await until(async () => (await stateOf(first, "host-3")) === "suspect", { what: "host-3 is suspect" });
    for (const host of [first, second]) {
      await until(async () => (await stateOf(host, "host-3")) === "dead", { what: "host-3 is dead" });
      await untilServing([host], [one, two]);
    }
    third.signal("SIGCONT");
    for (const host of hosts) await untilAlive(host, hosts);
    await untilServing(hosts, replicas);
    const since = (await eventsOf(third)).filter(({ id }) => id > lastEvent);
    assert.deepEqual(
      since.filter(({ kind }) => kind === "member.dead"),
      [],
    );
  });

  await t.test("all killed and started again at once: the same nodes, the same VIP", async () => {
    await Promise.all(hosts.map((host) => host.end("SIGKILL")));
    await startAll(hosts);
    await untilServing(hosts, replicas);
    assert.deepEqual(await Promise.all(hosts.map(idOf)), ids);
    for (const host of hosts) assert.deepEqual(await host.lookup("web"), [vip]);
    for (const host of hosts) await expectEven(doorAt(host, 8088), replicas);
  });
});
