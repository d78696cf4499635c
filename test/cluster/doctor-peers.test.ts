// Doctor and the other hosts: real daemons of which some are not reached, do not reach back, or have another clock.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import type { TokenReport } from "../../src/admin/contract-trust.ts";
import type { EventLine } from "../../src/admin/contract.ts";
import type { DoctorCheck, DoctorReport } from "../../src/admin/contract-doctor.ts";
import { clockOffBy } from "../lab/clock.ts";
import { daemonFor, openBlock, type Block, type DaemonUnderTest, type Ending } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import { stateOf, untilAlive } from "./cluster.ts";

/** A host that joins the first one; `advertise` is where it says that it is reached, `enter` what runs it. */
async function joining(
  t: Ending,
  {
    block,
    number,
    ...given
  }: { readonly block: Block; readonly number: number } & Partial<{
    advertise: string;
    enter: readonly string[];
  }>,
  first: DaemonUnderTest,
): Promise<DaemonUnderTest> {
  const address = block.address(number);
  const { token } = (await first.get("/api/v1/tokens/worker")) as TokenReport;
  const { enter = [], advertise = "auto" } = given;
  const host = daemonFor(t, {
    name: `host-${number}`,
    address,
    vipPool: block.vipPool,
    enter,
    config(dir) {
      const tokenFile = join(dir, "token");
      writeFileSync(tokenFile, token);
      const mesh = { listen: `${address}:7650`, advertise, join: [`${block.address(1)}:7650`], tokenFile };
      return { mesh, vip: { pool: block.vipPool, listen: false } };
    },
  });
  await host.start();
  return host;
}

/** What `skein doctor` says there, by a check's name and subject. */
async function doctored(host: DaemonUnderTest): Promise<(id: string, subject?: string) => DoctorCheck> {
  const { stdout, stderr } = await host.cli("doctor", "-o", "json");
  assert.notEqual(stdout, "", stderr);
  const { checks } = JSON.parse(stdout) as DoctorReport;
  return (id, subject) => {
    const found = checks.find((one) => one.id === id && (subject === undefined || one.subject === subject));
    assert.ok(
      found !== undefined,
      `${id} ${subject} in ${checks.map((one) => one.id + one.subject).join(", ")}`,
    );
    return found;
  };
}

test("doctor: tells which host is not reached, which does not reach back, and whose clock is off", async (t) => {
  const block = await openBlock(t);
  const first = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  await first.start();
  assert.match((await doctored(first))("peer.there", "host-1").text, /no other host/);

  // Nothing listens there: as behind a firewall, or an address translator.
  const advertise = `${block.address(2, 9)}:7650`;
  const second = await joining(t, { block, number: 2, advertise, enter: clockOffBy(-30) }, first);
  const third = await joining(t, { block, number: 3 }, first);
  for (const host of [first, second, third]) await untilAlive(host, [first, second, third]);

  const here = await doctored(first);
  assert.equal(here("peer.there", "host-3").state, "ok");
  assert.equal(here("peer.there", "host-2").state, "fail");
  assert.match(
    here("peer.there", "host-2").text,
    /^is alive, and not reached from here: .*:7650 cannot be reached/,
  );
  assert.equal(here("peer.back", "host-3").state, "ok");
  assert.match(here("clock.skew", "host-3").text, /^clocks agree within \d+ ms$/);
  assert.match(here("version.skew").text, /^all 3 hosts run/);

  const other = await doctored(second);
  for (const name of ["host-1", "host-3"]) {
    const { state, text, remedy } = other("peer.back", name);
    assert.equal(state, "fail", name);
    assert.match(text, new RegExp(`does not reach this host at ${advertise}: `));
    assert.match(remedy ?? "", /set mesh\.advertise/);
  }
  const { state, text } = other("clock.skew", "host-1");
  assert.match(text, /^its clock is (29\.\d|30\.\d) s ahead of this host's$/);
  assert.equal(state, "warn");

  // A look is no trouble to who is looked at.
  const events = (await third.get("/api/v1/events")) as readonly EventLine[];
  const told = events.filter(({ kind, text }) => kind === "mesh.refused" && /slow|handshake/.test(text));
  assert.deepEqual(told, []);

  // One is gone and one hangs: the answer is there all the same.
  await second.end("SIGKILL");
  await until(async () => (await stateOf(first, "host-2")) === "dead", { what: "host-2 is dead" });
  third.signal("SIGSTOP");
  t.after(() => third.signal("SIGCONT"));
  const left = await doctored(first);
  assert.equal(left("peer.there", "host-2").state, "warn");
  assert.match(left("peer.there", "host-2").remedy ?? "", /skein node rm host-2/);
  assert.match(left("peer.there", "host-3").text, /not reached from here: .*TLS handshake/);
});
