// Docker: each check coming out well and ill.

import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeEngine, type EngineFacts } from "../../../src/admin/checks/engine.ts";
import type { EngineDescription } from "../../../src/model/engine.ts";
import type { DoctorCheck } from "../../../src/admin/contract-doctor.ts";

const DESCRIPTION: EngineDescription = {
  version: "28.2.2",
  api: "1.50",
  operatingSystem: "Debian GNU/Linux 12",
  firewall: "iptables",
  liveRestore: true,
  isRootless: false,
  inSwarm: false,
  pools: [],
};

function engine(
  over: Partial<EngineDescription> = {},
  options: (EngineFacts & { kind: "there" })["options"] = null,
): EngineFacts {
  return { kind: "there", at: "/run/docker.sock", description: { ...DESCRIPTION, ...over }, options };
}

function ofId(facts: EngineFacts, id: string, kernel = true): DoctorCheck | undefined {
  return judgeEngine(facts, kernel).find((check) => check.id === id);
}

test("docker: an engine that is as it should be has no warning", () => {
  const checks = judgeEngine(engine(), true);
  assert.deepEqual(
    checks.map(({ state }) => state).filter((state) => state !== "ok"),
    [],
  );
  assert.equal(checks[0]?.text, "Docker 28.2.2 on Debian GNU/Linux 12 answers");
});

test("docker: none is well where it is switched off, and a warning where none was found", () => {
  const none = (isMeant: boolean): EngineFacts => ({ kind: "none", reason: "no socket", isMeant });
  assert.equal(ofId(none(true), "docker.reachable")?.state, "ok");
  assert.equal(ofId(none(false), "docker.reachable")?.state, "warn");
  assert.match(ofId(none(false), "docker.reachable")?.remedy ?? "", /docker\.socket/);
});

test("docker: one that does not answer fails, and a socket of another group has its own remedy", () => {
  const silent = (failure: string): EngineFacts => ({ kind: "silent", at: "/run/docker.sock", failure });
  assert.equal(ofId(silent("cannot reach docker: ECONNREFUSED"), "docker.reachable")?.state, "fail");
  assert.match(
    ofId(silent("connect ECONNREFUSED"), "docker.reachable")?.remedy ?? "",
    /systemctl start docker/,
  );
  assert.match(
    ofId(silent("connect EACCES"), "docker.reachable")?.remedy ?? "",
    /group that owns the socket/,
  );
});

test("docker: an engine older than 20.10 fails; the first that is new enough does not", () => {
  assert.equal(ofId(engine({ api: "1.40" }), "docker.version")?.state, "fail");
  assert.equal(ofId(engine({ api: "" }), "docker.version")?.state, "fail");
  assert.equal(ofId(engine({ api: "1.41" }), "docker.version")?.state, "ok");
  assert.equal(ofId(engine({ api: "2.0" }), "docker.version")?.state, "ok");
});

test("docker: rules that Docker does not make, or makes of nftables, are told where the kernel forwards", () => {
  const off = engine({}, { iptables: false, userlandProxy: null });
  assert.match(ofId(off, "docker.firewall")?.remedy ?? "", /"iptables": false/);
  assert.equal(ofId(off, "docker.firewall")?.state, "warn");
  assert.equal(ofId(engine({ firewall: "nftables" }), "docker.firewall")?.state, "warn");
  assert.equal(ofId(engine({ firewall: "" }), "docker.firewall")?.state, "ok");
  assert.equal(ofId(off, "docker.firewall", false), undefined);
});

test("docker: live-restore and the userland proxy are told as they are, where that is known", () => {
  assert.match(
    ofId(engine({ liveRestore: false }), "docker.live-restore")?.text ?? "",
    /stops all containers/,
  );
  assert.equal(ofId(engine({ liveRestore: null }), "docker.live-restore"), undefined);
  assert.equal(ofId(engine(), "docker.userland-proxy"), undefined);
  const on = engine({}, { iptables: null, userlandProxy: true });
  assert.match(ofId(on, "docker.userland-proxy")?.text ?? "", /docker-proxy/);
});

test("docker: an engine in a Swarm is a warning", () => {
  assert.equal(ofId(engine({ inSwarm: true }), "docker.swarm")?.state, "warn");
  assert.equal(ofId(engine(), "docker.swarm"), undefined);
});
