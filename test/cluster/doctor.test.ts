// Doctor: a real daemon beside an engine with containers whose resolvers lead here and elsewhere.

import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import type { DoctorCheck, DoctorReport } from "../../src/admin/contract-doctor.ts";
import { daemonFor, folderFor, openBlock } from "../support/daemons.ts";
import { containerEvent, openEngine, type FakeContainer } from "../support/engine.ts";
import { until } from "../support/wait.ts";

const LABELS = { "skein.service": "web", "skein.port": "80" };

/** A container on the engine's bridge, whose gateway no interface of this machine has. */
function container(digit: string, name: string, over: Partial<FakeContainer>): FakeContainer {
  return { id: digit.repeat(64), name, labels: LABELS, gateway: "172.17.0.1", ...over };
}

test("doctor: tells whose questions come here, and ends with 1 where they should and do not", async (t) => {
  const block = await openBlock(t);
  const file = join(folderFor(t), "resolv.conf");
  writeFileSync(file, "nameserver 192.0.2.53\n");
  const engine = await openEngine([
    container("a", "asks", { address: block.address(9) }),
    container("b", "pointed", { address: "172.17.0.3", dns: ["172.17.0.1"] }),
    container("c", "elsewhere", { address: "172.17.0.4", resolvConfPath: file }),
  ]);
  t.after(() => engine.close());
  const config = () => ({ docker: { socket: engine.socketPath } });
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool, config });
  await daemon.start();

  const checked = async (): Promise<ReadonlyMap<string, DoctorCheck>> => {
    const { checks } = (await daemon.get("/api/v1/doctor")) as DoctorReport;
    return new Map(checks.map((check) => [`${check.area} ${check.subject}`, check]));
  };
  await until(async () => (await checked()).has("container asks"));
  assert.equal((await checked()).get("container asks")?.state, "warn", "nobody knows whom it asks");
  const resolver = new Resolver();
  resolver.setServers([`${daemon.address}:5300`]);
  resolver.setLocalAddress(block.address(9));
  await resolver.resolve4("web.default.skein.internal").catch(() => null);
  const checks = await checked();
  assert.match(checks.get("container asks")?.text ?? "", /^asked this daemon \d+ s ago$/);
  assert.match(checks.get("container elsewhere")?.text ?? "", /^asks 192\.0\.2\.53: not this daemon$/);
  const pointed = checks.get("container pointed");
  assert.equal(pointed?.state, "fail");
  assert.match(pointed?.text ?? "", /does not answer: dns address 172\.17\.0\.1:53\/udp/);
  assert.equal(checks.get("gateway 172.17.0.1:53")?.state, "warn");
  assert.equal(checks.get("listener dns")?.state, "ok");

  const { code, stdout } = await daemon.cli("doctor", "-q");
  assert.deepEqual([code, stdout], [1, "container/pointed\n"]);

  // Made anew at once with a broken --dns: it gets the address again, and not the good name of the one before.
  const anew = container("d", "anew", { address: block.address(9), dns: ["192.0.2.53"] });
  engine.containers.delete("a".repeat(64));
  engine.containers.set(anew.id, anew);
  engine.emit(containerEvent("a".repeat(64), "die"));
  engine.emit(containerEvent(anew.id, "start"));
  await until(async () => (await checked()).has("container anew"));
  const made = (await checked()).get("container anew");
  assert.deepEqual([made?.state, made?.text], ["warn", "asks 192.0.2.53: not this daemon"]);
  await resolver.resolve4("web.default.skein.internal").catch(() => null);
  assert.match((await checked()).get("container anew")?.text ?? "", /^asked this daemon \d+ s ago$/);
});
