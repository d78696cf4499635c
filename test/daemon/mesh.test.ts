// The mesh of one daemon: who was let in goes on as long as he counts, and no longer, while his connection lives.

import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";

import type { Base } from "../../src/daemon/base.ts";
import { meshTrustOf, openMesh, type Mesh } from "../../src/daemon/mesh.ts";
import { openDialler } from "../../src/mesh/dial.ts";
import { openLanes } from "../../src/mesh/lanes.ts";
import { dialLink } from "../../src/mesh/websocket.ts";
import type { Credential } from "../../src/model/credential.ts";
import { openLifecycle } from "../../src/runtime/lifecycle.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { adopt } from "../../src/trust/membership.ts";
import { openSilentLog } from "../support/silence.ts";
import { until } from "../support/wait.ts";
import { DAY_MS, newApplicant, newManager } from "../trust/doors.ts";

interface Scene {
  readonly mesh: Mesh;
  readonly manager: Credentials;
  readonly worker: Credentials;
  /** How the worker's link ended; empty while it lives. */
  readonly ends: readonly string[];
  /** What the worker's log shows, as the manager's host sees it. */
  readonly shows: (credential: Credential) => void;
}

/** A manager's mesh with a link of a worker; its looks at the links and the time of day are the test's. */
async function openScene(t: TestContext): Promise<Scene> {
  const { credentials: manager } = await newManager(t, { nowMs: Date.now() });
  const worker = await workerOf(t, manager);
  t.mock.timers.enable({ apis: ["setInterval", "Date"], now: Date.now() });
  const log = openSilentLog();
  const lifecycle = openLifecycle({ log, totalMs: 5000 });
  t.after(() => lifecycle.close());
  const host = "127.0.0.1";
  const config = { mesh: { listen: { host, port: 0 }, advertise: { host, port: 1 }, join: [] } };
  const report = { listen: () => undefined };
  const base = { options: { log, config }, lifecycle, metrics: openMetrics(), report } as unknown as Base;
  let shown: Credential | undefined;
  const mesh = await openMesh(base, {
    credentials: manager,
    credentialOf: () => shown,
    resolve: () => null,
    wayTo: () => ({ kind: "unknown" }),
    onJoin: (_request, response) => response.writeHead(501).end(),
    onInput: () => undefined,
    onHappenings: () => undefined,
    addressOf: () => null,
    nameOf: () => null,
  });
  mesh.admit();
  const dialMember = openDialler(meshTrustOf(worker), { tell: () => undefined });
  const link = await dialLink(mesh.address, { id: 1, deadlineMs: 5000, lanes: openLanes(), dialMember });
  const ends: string[] = [];
  link.start({ frame: () => undefined, closed: ({ text }) => ends.push(text) });
  t.after(() => link.close("the test is over"));
  return { mesh, manager, worker, ends, shows: (credential) => (shown = credential) };
}

async function workerOf(t: TestContext, manager: Credentials): Promise<Credentials> {
  const applicant = await newApplicant(t, { nowMs: Date.now() });
  const { publicKey, id } = applicant.identity;
  const certificate = await manager.issue(publicKey, id, "worker");
  return applicant.writes(
    await adopt(applicant.options, { certificate, charter: manager.charter, keys: {} }),
  );
}

const LOOK_MS = 10_000;

describe("mesh", () => {
  it("a link ends within seconds of its certificate, though nothing else ends it", async (t) => {
    const { worker, ends } = await openScene(t);
    t.mock.timers.tick(LOOK_MS);
    t.mock.timers.setTime(worker.credential.notAfterMs + 1);
    t.mock.timers.tick(LOOK_MS);
    await until(() => ends.length === 1);
    assert.match(ends[0] ?? "", /certificate of this connection has ended/);
  });

  it("a link whose member has renewed goes on; when the member is removed it ends at once", async (t) => {
    const { mesh, manager, worker, ends, shows } = await openScene(t);
    const { notAfterMs } = worker.credential;
    shows({ ...worker.credential, notAfterMs: notAfterMs + 60 * DAY_MS });
    t.mock.timers.setTime(notAfterMs + 1);
    t.mock.timers.tick(LOOK_MS);
    manager.revoke(worker.id);
    mesh.recheck();
    await until(() => ends.length === 1);
    assert.match(ends[0] ?? "", /removed from the cluster/);
  });
});
