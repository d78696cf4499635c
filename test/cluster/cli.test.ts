// The command line against real daemons: the shapes that scripts rely on, and what each ending says to a shell.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "node:test";

import { parse } from "yaml";

import type {
  Explanation,
  MemberDetail,
  MemberLine,
  ResolveReport,
  ServiceLine,
  StatusReport,
} from "../../src/admin/contract.ts";
import { run } from "../support/daemons.ts";
import { until, within } from "../support/wait.ts";

import { prepareCluster, startAll, untilServing, webReplicas, webService } from "./cluster.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** Exactly these keys first, in this order, as the contract lists them; more may follow. */
function expectKeys(value: object | undefined, keys: readonly string[]): void {
  assert.deepEqual(Object.keys(value ?? {}).slice(0, keys.length), keys);
}

test("cli: every command against two daemons", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  first.configure({
    services: [webService([one], { publish: ["8088:8000"], http: [{ host: "web.example.com" }] })],
  });
  second.configure({
    services: [webService([two], { publish: ["8088:8000"], http: [{ host: "web.example.com" }] })],
  });
  const pair = [first, second];
  await startAll(pair);
  await untilServing(pair, [one, two]);
  /** Runs a command that must succeed. @returns its JSON */
  const json = async <T>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await first.cli(...args, "-o", "json");
    assert.equal(code, 0, stderr);
    assert.equal(stderr, "");
    return JSON.parse(stdout) as T;
  };

  await t.test("node ls", async () => {
    const members = await json<MemberLine[]>("node", "ls");
    assert.deepEqual(
      members.map(({ name }) => name),
      ["host-1", "host-2"],
    );
    for (const [index, member] of members.entries()) {
      expectKeys(member, ["name", "id", "state", "role", "address", "replicas"]);
      assert.match(member.id, /^[a-z2-7]{20}$/);
      assert.equal(member.state, "alive");
      assert.equal(member.role, index === 0 ? "manager" : "worker");
      assert.equal(member.address, `${block.address(index + 1)}:7650`);
      assert.equal(member.replicas, 1);
      assert.ok(member.incarnation > 0);
      assert.deepEqual([member.via, member.settlesAtMs], [null, null]);
    }
    await until(async () => typeof (await json<MemberLine[]>("node", "ls"))[1]?.rttMs === "number", {
      what: "the round trip is known",
    });
  });

  await t.test("node inspect, by name and by the start of an id", async () => {
    const byName = await json<MemberDetail>("node", "inspect", "host-2");
    expectKeys(byName, ["name", "id", "state", "role", "address", "replicas"]);
    assert.deepEqual(
      byName.runs.map(({ service, address, eligible }) => [service, address, eligible]),
      [["default/web", two.address, true]],
    );
    const byId = await json<MemberDetail>("node", "inspect", byName.id.slice(0, 8));
    assert.equal(byId.name, "host-2");
    assert.equal((await first.cli("node", "inspect", "nosuch")).code, 3);
  });

  await t.test("leave and drain are refused over TCP, where anybody on this host may ask", async () => {
    for (const path of ["leave", "drains"]) {
      const asked = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
      const answer = await fetch(`http://${first.address}:7651/api/v1/${path}`, asked);
      assert.equal(answer.status, 403);
      assert.match(await answer.text(), /unix socket/);
    }
    assert.ok(first.isRunning());
  });

  await t.test("service ls", async () => {
    const [service, ...others] = await json<ServiceLine[]>("service", "ls");
    assert.deepEqual(others, []);
    expectKeys(service, ["network", "name", "vip", "ports", "replicas", "ready"]);
    assert.equal(service?.network, "default");
    assert.equal(service?.name, "web");
    assert.deepEqual([service?.vip], await first.lookup("web"));
    assert.equal(service?.replicas, 2);
    assert.equal(service?.ready, 2);
    assert.equal((await first.cli("service", "ls", "--network", "nosuch")).code, 3);
  });

  await t.test("explain, by each form of the name", async () => {
    for (const name of ["web", "web.default", "default/web", "web.default.skein.internal"]) {
      const told = await json<Explanation>("explain", name);
      expectKeys(told, ["network", "name", "vip", "replicas"]);
      assert.equal(told.replicas.length, 2);
      for (const replica of told.replicas) {
        expectKeys(replica, ["id", "node", "address", "eligible", "reason", "sinceMs"]);
        assert.equal(replica.eligible, true);
        assert.equal(typeof replica.sinceMs, "number");
      }
      assert.deepEqual(told.replicas.map(({ node }) => node).toSorted(), ["host-1", "host-2"]);
      assert.deepEqual(told.replicas.map(({ address }) => address).toSorted(), [one.address, two.address]);
    }
  });

  await t.test("service inspect", async () => {
    const detail = await json<Explanation>("service", "inspect", "web");
    expectKeys(detail, ["network", "name", "vip", "replicas"]);
  });

  await t.test("resolve tells what DNS answers", async () => {
    const report = await json<ResolveReport>("resolve", "web");
    expectKeys(report, ["name", "type", "rcode", "answers"]);
    expectKeys(report.answers[0], ["type", "ttl", "data"]);
    assert.deepEqual(
      report.answers.map(({ data }) => data),
      await first.lookup("web"),
    );
    const tasks = await json<ResolveReport>("resolve", "tasks.web", "A");
    assert.deepEqual(tasks.answers.map(({ data }) => data).toSorted(), await first.lookup("tasks.web"));
    const none = await json<ResolveReport>("resolve", "web", "AAAA");
    assert.deepEqual([none.rcode, none.answers], ["NOERROR", []]);
    const unknown = await first.cli("resolve", "nosuch.skein.internal", "-o", "json");
    assert.equal(unknown.code, 3);
    assert.equal((JSON.parse(unknown.stdout) as ResolveReport).rcode, "NXDOMAIN");
    assert.equal((await first.cli("resolve", "web", "--as", "nosuch")).code, 3);
    assert.equal((await first.cli("resolve", "web", "BOGUS")).code, 2);
  });

  await t.test("status", async () => {
    const status = await json<StatusReport>("status");
    assert.equal(status.node.name, "host-1");
    assert.deepEqual(status.listen.mesh, [`${first.address}:7650`]);
    assert.deepEqual(status.listen.dns, [`${first.address}:5300`]);
    assert.deepEqual(status.listen.admin, [first.socket, `${first.address}:7651`]);
    const [vip] = await first.lookup("web");
    const ways = [`${first.address}:8080`, `${first.address}:8088`, `${vip}:8000`];
    assert.deepEqual(status.listen.ingress.toSorted(), ways.toSorted());
    const states = { alive: 2, suspect: 0, dead: 0, away: 0, left: 0 };
    assert.deepEqual(status.cluster, { id: status.cluster.id, size: 2, states });
    assert.match(status.cluster.id, /^[a-z2-7]{20}$/);
    assert.equal(status.node.role, "manager");
    assert.ok(status.certificate.endsAtMs > Date.now() + 80 * 86_400_000);
    assert.deepEqual([status.certificate.issuerGeneration, status.authorityGeneration], [1, 1]);
    assert.equal(status.view.complete, true);
    assert.deepEqual(status.problems, []);
    for (const state of ["alive", "suspect", "dead", "away", "left"])
      assert.equal(await first.metric("skein_members", `state="${state}"`), state === "alive" ? 2 : 0, state);
    assert.match(String(await first.get("/metrics")), /^skein_gossip_health_score \d/m);
  });

  await t.test("events, and events -f until the reader has seen enough", async () => {
    const events = await json<{ kind: string; id: number }[]>("events");
    for (const kind of ["daemon.started", "member.alive", "service.added", "vip.assigned", "replica.ready"])
      assert.ok(
        events.some((event) => event.kind === kind),
        kind,
      );
    const child = spawn(process.execPath, [MAIN, "--socket", first.socket, "events", "-f", "-o", "json"]);
    t.after(() => child.kill("SIGKILL"));
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await until(() => text.includes("replica.ready"), { what: "what happened before is told" });
    two.healthy = false;
    await until(() => text.includes("replica.unready"), { what: "what happens now is told" });
    two.healthy = true;
    child.kill("SIGINT");
    const [code] = (await within(once(child, "close"), "the command ends")) as [number | null];
    assert.equal(code, 0);
    for (const line of text.trim().split("\n")) assert.ok(JSON.parse(line), line);
    await untilServing(pair, [one, two]);
  });

  await t.test("tables are for people, -q for loops, yaml for both", async () => {
    const table = await first.cli("service", "ls");
    assert.match(table.stdout, /^NETWORK +NAME +VIP +PORTS +READY\ndefault +web +127\.[\d.]+ +\S+ +2\/2\n$/);
    assert.equal((await first.cli("node", "ls", "-q")).stdout, "host-1\nhost-2\n");
    const yaml = await first.cli("service", "ls", "-o", "yaml");
    assert.deepEqual(parse(yaml.stdout), await json("service", "ls"));
    assert.match((await first.cli("explain", "web")).stdout, /2 of 2 take traffic/);
    assert.match((await first.cli("status")).stdout, /members +2: 2 alive/);
  });

  await t.test("version, config check and config print need no daemon", async () => {
    const nowhere = ["--socket", join(first.dir, "none.sock")];
    assert.equal((await run([MAIN, ...nowhere, "version"])).code, 0);
    assert.equal((await run([MAIN, ...nowhere, "config", "check", first.file])).code, 0);
    const printed = await run([MAIN, ...nowhere, "config", "print", "--config", first.file]);
    assert.equal(printed.code, 0, printed.stderr);
    assert.equal((parse(printed.stdout) as { node: { name: string } }).node.name, "host-1");
  });

  await t.test("endings: 2 for wrong usage, 3 for what is not there, 4 without a daemon", async () => {
    assert.equal((await first.cli("nosuch")).code, 2);
    assert.equal((await first.cli("explain")).code, 2);
    assert.equal((await first.cli("service", "ls", "-o", "xml")).code, 2);
    const missing = await first.cli("explain", "wbe");
    assert.equal(missing.code, 3);
    assert.equal(missing.stdout, "");
    assert.match(missing.stderr, /wbe.*did you mean "web"/);
    assert.equal((await first.cli("service", "inspect", "nosuch")).code, 3);
    const nowhere = [MAIN, "--socket", join(first.dir, "none.sock")];
    const commands = [["status"], ["node", "ls"], ["drain", "web-1"], ["events", "-f"]];
    for (const ran of await Promise.all(commands.map((command) => run([...nowhere, ...command])))) {
      assert.equal(ran.code, 4, ran.stderr);
      assert.match(ran.stderr, /none\.sock.*skein run/);
    }
  });

  await t.test("a daemon that is frozen: exit 4 within the command's deadline", async () => {
    first.signal("SIGSTOP");
    const { code, stderr } = await first.cli("status");
    first.signal("SIGCONT");
    assert.equal(code, 4);
    assert.match(stderr, /no answer in time/);
  });

  await t.test("the socket is found by its variable, and is its owner's and group's alone", async () => {
    assert.equal(statSync(first.socket).mode & 0o777, 0o660);
    const { code, stdout } = await run([MAIN, "node", "ls", "-q"], { SKEIN_ADMIN_SOCKET: first.socket });
    assert.equal(code, 0);
    assert.match(stdout, /^host-1$/m);
  });
});
