// How a host becomes a member: whole or not at all, whatever the disk does in between, and by the time of day as it is.

import assert from "node:assert/strict";
import { mkdir, readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { Journal } from "../../src/admin/journal.ts";
import { Failure } from "../../src/base/failure.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { Base } from "../../src/daemon/base.ts";
import { openMembership, type Membership } from "../../src/daemon/membership.ts";
import { joinOffline } from "../../src/daemon/offline.ts";
import { openState, openStateOffline } from "../../src/daemon/state.ts";
import { openFolder } from "../support/folder.ts";
import { openSilentLog } from "../support/silence.ts";
import { until } from "../support/wait.ts";
import { DAY_MS, newManager, openDoor } from "../trust/doors.ts";

const NEIGHBOUR: HostPort = { host: "192.0.2.7", port: 7650 };

interface Cluster {
  readonly address: HostPort;
  readonly token: string;
  readonly clusterId: string;
}

/** A manager whose door is open, and who knows another member. */
async function openCluster(t: TestContext): Promise<Cluster> {
  const manager = await newManager(t, { nowMs: Date.now() });
  const { credentials } = manager;
  const { address } = await openDoor(t, manager, { members: () => [renderHostPort(NEIGHBOUR)] });
  return { address, token: credentials.token("worker"), clusterId: credentials.clusterId };
}

/** The parts of a base that membership uses. */
function baseOf(dataDir: string, { address, token }: Cluster, stopping = new AbortController()) {
  const log = openSilentLog();
  const mesh = { join: [address], token, tokenFile: "" };
  const config = { node: { dataDir, name: "host-2" }, mesh };
  const options = { config, log, opening: { kind: "usual" }, pace: {}, stopping: stopping.signal };
  const base = { options, journal: new Journal(), random: seededRandom(1) } as unknown as Base;
  return { base, log };
}

/** A data dir in which the state cannot be written, until `mend`. */
async function openBrokenDir(t: TestContext): Promise<{ dataDir: string; mend: () => Promise<void> }> {
  const dataDir = await openFolder(t);
  const obstacle = join(dataDir, "state.json.new");
  await mkdir(obstacle);
  return { dataDir, mend: () => rmdir(obstacle) };
}

const isFailure = (thrown: unknown): boolean => thrown instanceof Failure;

describe("membership", () => {
  it("a host that cannot keep where the others are has not joined, and joins when it is asked again", async (t) => {
    const cluster = await openCluster(t);
    const { dataDir, mend } = await openBrokenDir(t);
    const { base } = baseOf(dataDir, cluster);
    await assert.rejects(openMembership(base), isFailure);
    await mend();
    const membership = await openMembership(base);
    assert.equal(membership?.credentials.clusterId, cluster.clusterId);
    assert.deepEqual((await openState(base)).kept.addresses, [cluster.address, NEIGHBOUR]);
  });

  it("so does one without a daemon: it is not told that it is a member already", async (t) => {
    const cluster = await openCluster(t);
    const { dataDir, mend } = await openBrokenDir(t);
    const request = { host: renderHostPort(cluster.address), token: cluster.token };
    await assert.rejects(joinOffline({ dataDir, name: "host-2" }, request), isFailure);
    await mend();
    const { joined, clusterId } = await joinOffline({ dataDir, name: "host-2" }, request);
    assert.deepEqual([joined, clusterId], [true, cluster.clusterId]);
    assert.deepEqual((await openStateOffline(dataDir)).kept.addresses, [cluster.address, NEIGHBOUR]);
    assert.match(await readFile(join(dataDir, "node.crt"), "utf8"), /BEGIN CERTIFICATE/);
  });

  it("a host whose clock is wrong at first gets in once that is set, without a restart", async (t) => {
    const cluster = await openCluster(t);
    const rightMs = Date.now();
    t.mock.timers.enable({ apis: ["Date"], now: rightMs - 400 * DAY_MS });
    const { base, log } = baseOf(await openFolder(t), cluster);
    let membership: Membership | null = null;
    const opening = openMembership(base).then((opened) => (membership = opened));
    await until(() => log.lines.some(({ text }) => /not joined yet.*this host's clock shows/.test(text)));
    assert.equal(membership, null);
    t.mock.timers.setTime(rightMs);
    assert.equal((await opening)?.credentials.clusterId, cluster.clusterId);
  });

  it("what a member judges it judges by the time of day, also when that jumps", async (t) => {
    const cluster = await openCluster(t);
    const { base } = baseOf(await openFolder(t), cluster);
    const membership = await openMembership(base);
    assert.ok(membership !== null);
    const { credentials } = membership;
    assert.ok(credentials.admit(credentials.certificate).ok);
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 400 * DAY_MS });
    const judged = credentials.admit(credentials.certificate);
    assert.match(judged.ok ? "" : judged.failure.message, /has ended/);
  });
});
