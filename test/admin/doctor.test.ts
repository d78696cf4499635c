// Doctor: what works and what does not, each thing told once.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { DoctorCheck } from "../../src/admin/contract-doctor.ts";
import type { ProblemLine } from "../../src/admin/contract.ts";
import { diagnose, upstreamProblems, type DoctorFacts } from "../../src/admin/doctor.ts";
import type { Snapshot } from "../../src/admin/handlers.ts";
import { statusOf } from "../../src/admin/handlers.ts";
import { parsePrefix } from "../../src/base/ip.ts";
import { NOTHING } from "./facts.ts";
import { member, OTHER, service, snapshot, view } from "./picture.ts";

function checksOf(given: Partial<Snapshot>, facts: Partial<DoctorFacts> = {}): readonly DoctorCheck[] {
  return diagnose(snapshot(given), { ...NOTHING, ...facts }).checks;
}

function inArea(checks: readonly DoctorCheck[], area: DoctorCheck["area"]): readonly DoctorCheck[] {
  return checks.filter((check) => check.area === area);
}

const states = (checks: readonly DoctorCheck[]): readonly string[] => checks.map(({ state }) => state);

test("doctor: every part that listens is named with its addresses, many are counted", () => {
  const ingress = Array.from({ length: 20 }, (_, at) => `10.96.0.${at}:80`);
  const listen = { mesh: ["0.0.0.0:7650"], dns: ["127.0.0.1:5300"], admin: [], ingress };
  const checks = inArea(checksOf({ listen }), "listener");
  assert.deepEqual(
    checks.map(({ subject }) => subject),
    ["mesh", "dns", "ingress"],
  );
  assert.match(checks[2]?.text ?? "", /^listens on 10\.96\.0\.0:80, .* and 12 more$/);
});

test("doctor: every problem of status is there in its own words, once", () => {
  const areas = ["label", "port", "bind", "state", "service", "source", "network", "trust", "tls"] as const;
  const problems = areas.map((area): ProblemLine => ({ area, subject: `s-${area}`, text: `what ${area}` }));
  const checks = checksOf({ problems });
  for (const { area, subject, text } of problems) {
    const found = checks.filter((check) => check.text === text);
    assert.deepEqual(
      found.map((check) => [check.area, check.subject]),
      [[area, subject]],
    );
  }
  const failing = checks.filter(({ state }) => state === "fail").map(({ area }) => area);
  assert.deepEqual(failing, ["bind", "state", "trust"], "what is there to work and does not");
});

test("doctor: warnings of status are warnings here", () => {
  const given = { warnings: ["link to host-2 is broken"], healthScore: 2 };
  const texts = checksOf(given)
    .filter(({ state }) => state === "warn")
    .map(({ text }) => text);
  for (const text of statusOf(snapshot(given)).warnings) assert.ok(texts.includes(text), text);
});

test("doctor: a gateway answers, or its problem is told there and nowhere else", () => {
  const text = "dns address 172.18.0.1:53/udp is taken";
  const problems: readonly ProblemLine[] = [{ area: "bind", subject: "172.18.0.1:53", text }];
  const gateways = ["172.17.0.1", "172.18.0.1", "172.19.0.1"];
  const holderByPlace = new Map([["172.18.0.1:53", "dnsmasq (pid 812)"]]);
  const checks = checksOf({ problems }, { gateways, dnsPlaces: ["172.17.0.1:53"], holderByPlace });
  const told = inArea(checks, "gateway");
  assert.deepEqual(states(told), ["ok", "warn", "warn"]);
  const texts = checks.map((check) => check.text).filter((one) => one.includes(text));
  assert.deepEqual(texts, [`${text}; dnsmasq (pid 812) has it`]);
});

test("doctor: upstreams fail together only; a loop is named with what to do", () => {
  const alive = { address: "192.0.2.1:53", state: "alive" } as const;
  const silent = { address: "192.0.2.2:53", state: "silent" } as const;
  const unknown = { address: "192.0.2.4:53", state: "unknown" } as const;
  const loop = { address: "192.0.2.3:53", state: "loop" } as const;
  const checks = (upstreams: DoctorFacts["upstreams"]): readonly DoctorCheck[] =>
    inArea(checksOf({ problems: upstreamProblems(upstreams) }, { upstreams }), "upstream");
  assert.deepEqual(states(checks([alive, silent, loop])), ["ok", "warn", "warn"]);
  assert.deepEqual(states(checks([silent, loop])), ["fail", "fail"]);
  assert.deepEqual(states(checks([silent, unknown])), ["warn", "warn"], "that one may answer yet");
  assert.match(checks([unknown])[0]?.text ?? "", /^has not answered yet/);
  assert.match(checks([loop])[0]?.remedy ?? "", /stop it from forwarding to this daemon/);
  assert.deepEqual(upstreamProblems([alive, unknown]), []);
});

test("doctor: no upstream is well where it was meant, and a warning where auto found none", () => {
  assert.deepEqual(states(inArea(checksOf({ choices: [] }), "upstream")), ["ok"]);
  const choices = [{ key: "dns.upstream", value: "none", reason: "/etc/resolv.conf" }];
  assert.deepEqual(states(inArea(checksOf({ choices }), "upstream")), ["warn"]);
});

test("doctor: VIPs that only this host reaches are told as the price of a missing privilege", () => {
  const services = [service("default", "web", { vip: "10.96.0.1" }), service("default", "db")];
  const [check] = inArea(checksOf({ view: view({ services }) }), "vip");
  assert.equal(check?.state, "warn");
  assert.match(check?.text ?? "", /^services with an address of it: 1; no NET_ADMIN/);
  assert.match(check?.remedy ?? "", /NET_ADMIN/);
  const choices = [{ key: "vip.pool", value: "10.96.0.0/12", reason: "NET_ADMIN is there" }];
  assert.deepEqual(states(inArea(checksOf({ choices }), "vip")), ["ok"]);
});

test("doctor: a source that lost its origin fails, with the reason", () => {
  const sources = [
    { name: "docker", endpoints: 2, stale: "docker does not answer" },
    { name: "static", endpoints: 1, stale: null },
  ];
  assert.deepEqual(states(inArea(checksOf({ sources }), "source")), ["fail", "ok"]);
});

test("doctor: every check has a name that begins with its area, or is that of a problem, and a reason", () => {
  const problems: readonly ProblemLine[] = [
    { area: "label", subject: "web", text: "skein.prot means nothing" },
  ];
  for (const { id, area, why } of checksOf({ problems, warnings: ["it is slow"] })) {
    assert.ok(id.startsWith(`${area}.`) || id === `problem.${area}`, id);
    assert.notEqual(why, "", id);
  }
});

test("doctor: a certificate is told with the time it has left; one that has ended fails", () => {
  const { trust, atMs } = snapshot();
  const of = (endsAtMs: number): DoctorCheck | undefined => {
    const certificate = { endsAtMs, issuerGeneration: 2 };
    return checksOf({ trust: { ...trust, certificate } }).find(({ id }) => id === "trust.certificate");
  };
  assert.match(of(atMs + 10 * 86_400_000)?.text ?? "", /good for another 10 days, of authority generation 2/);
  assert.match(of(atMs + 7_200_000)?.text ?? "", /another 2 h/);
  assert.equal(of(atMs + 1)?.state, "ok");
  assert.equal(of(atMs - 1)?.state, "fail");
  assert.match(of(atMs - 1)?.remedy ?? "", /clock/);
});

test("doctor: what was not looked at in time is a warning, and the rest is told", () => {
  const checks = checksOf({}, { unseen: ["docker"] });
  const [unseen] = checks.filter(({ id }) => id === "daemon.unseen");
  assert.deepEqual([unseen?.subject, unseen?.state], ["docker", "warn"]);
  assert.ok(checks.length > 3);
});

test("doctor: the ranges that an engine falls back to are looked at where it tells none of its own", () => {
  const parsed = (text: string) => {
    const prefix = parsePrefix(text);
    assert.ok(prefix.ok, text);
    return prefix.value;
  };
  const pools = { vip: parsed("172.16.0.0/16"), overlay: parsed("10.160.0.0/11") };
  const description = {
    version: "28",
    api: "1.50",
    operatingSystem: "",
    firewall: "",
    liveRestore: null,
    isRootless: false,
    inSwarm: false,
    pools: ["10.161.0.0/16"],
  };
  const engine = { kind: "there", at: "/run/docker.sock", description, options: null } as const;
  const ill = (facts: Partial<DoctorFacts>): readonly string[] =>
    checksOf({}, { pools, ...facts })
      .filter(({ area, state }) => area === "range" && state === "warn")
      .map(({ id }) => id);
  assert.deepEqual(ill({ engine }), ["range.overlay"]);
  assert.deepEqual(ill({ engine: { ...engine, description: { ...description, pools: [] } } }), ["range.vip"]);
  assert.deepEqual(ill({ engine: null }), []);
});

test("doctor: a host is said to be alone only where it knows of no other", () => {
  const other = member({ id: OTHER, name: "host-2", self: false });
  const of = (members: readonly ReturnType<typeof member>[]): readonly DoctorCheck[] =>
    inArea(checksOf({ view: view({ members }) }), "peer");
  assert.match(of([member()])[0]?.text ?? "", /no other host/);
  assert.match(of([member(), { ...other, state: "left" }])[0]?.text ?? "", /no other host/);
  assert.deepEqual(of([member(), other]), [], "they were not looked at in time");
});
