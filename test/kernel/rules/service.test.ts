// Service: which of its ports get a chain, and what leads there.

import assert from "node:assert/strict";
import { test } from "node:test";

import { planRules } from "../../../src/kernel/rules/plan.ts";
import { seeChain } from "../../../src/kernel/rules/service.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../../src/model/service.ts";
import type { Service } from "../../../src/model/view.ts";

import { given, network, onOverlay, replica, service } from "./fixtures.ts";

/** What leads to the chains of one service on network `app`, or the texts of a chain. */
function planned(changes: Partial<Service>, more: Partial<KernelGiven> = {}) {
  const web = service("web", {
    network: "app",
    replicas: [onOverlay(1, 2), onOverlay(2, 2), onOverlay(3, 2)],
    ...changes,
  });
  const { sets, chains, problems, endpoints } = planRules(
    given({ services: [web], networks: [network("app")] }, more),
    0,
  );
  return {
    vips: [...(sets.get("vips") ?? [])].map(([key]) => key),
    ports: [...(sets.get("ports") ?? [])].map(([key, value]) => `${key} ${value}`),
    owners: [...(sets.get("owners") ?? [])].map(([key]) => key),
    masked: [...(sets.get("masked") ?? [])].map(([key]) => key),
    rules: (name: string) => chains.get(name)?.rules.map(({ text }) => text) ?? null,
    problems,
    endpoints: [...endpoints.keys()],
  };
}

const CHAIN = "all-app/web/80-tcp";

test("planService: a VIP and the addresses it had before lead to one chain", () => {
  const { vips, owners } = planned({ aliasVips: ["10.96.0.7"] });
  assert.deepEqual(vips, ["10.96.0.1 . 6 . 80", "10.96.0.7 . 6 . 80"]);
  assert.deepEqual(owners, ["10.96.0.1", "10.96.0.7"]);
});

test("planService: one upstream that only the proxy reaches leaves the whole port to the proxy", () => {
  const far = replica("far", { local: false, node: "bbbbbbbbbbbbbbbbbbbb" });
  const { vips, owners, rules } = planned({ replicas: [onOverlay(1, 2), far] });
  assert.deepEqual([vips, rules(CHAIN)], [[], null]);
  assert.deepEqual(owners, ["10.96.0.1"], "who may use it is the kernel's to say all the same");
});

test("planService: ports for HTTP, PROXY headers and VIPs of loopback are the proxy's", () => {
  const http = [{ name: "web", port: 80, target: 8080, protocol: "http" as const }];
  assert.deepEqual(planned({ ports: http }).vips, []);
  const delivery = { ...DEFAULT_DELIVERY, proxyProtocol: "v2" as const };
  assert.deepEqual(planned({ replicas: [onOverlay(1, 2, { delivery })] }).vips, []);
  assert.deepEqual(planned({ vip: "127.96.0.1" }, { pool: "127.96.0.0/12" }).vips, []);
  assert.deepEqual(planned({ vip: "198.51.100.1" }).vips, [], "nor what is no VIP");
  assert.deepEqual(planned({ replicas: [] }).vips, []);
});

test("planService: of each round a doubtful upstream's share goes back, first", () => {
  const { rules } = planned({}, { ejected: new Set(["r2-2:8080"]) });
  assert.equal(rules(CHAIN)?.[0], "numgen inc mod 3 < 1 return");
  assert.match(rules(CHAIN)?.[1] ?? "", /^ct mark set numgen inc mod 2 offset \d+$/);
  const all = new Set(["r1-2:8080", "r2-2:8080", "r3-2:8080"]);
  assert.equal(planned({}, { ejected: all }).rules(CHAIN), null, "with all of them, no rule");
});

test("planService: a replica of this host that chose itself goes back", () => {
  const { rules } = planned({});
  const selves = rules(CHAIN)?.find((text) => text.endsWith("return")) ?? "";
  assert.match(selves, /^ip saddr 10\.160\.1\.2 ct mark 0x5380000\d return$/);
  const many = [2, 3, 4, 5, 6].map((last) => onOverlay(1, last));
  const one =
    planned({ replicas: many })
      .rules(CHAIN)
      ?.find((text) => text.endsWith("return")) ?? "";
  assert.match(one, /^ip saddr \. ct mark \{ (?:10\.160\.1\.\d \. 0x5380000\d(?:, )?){5} \} return$/);
});

test("planService: weights become slots", () => {
  const replicas = [onOverlay(2, 2, { weight: 30 }), onOverlay(3, 2, { weight: 10 })];
  const last = planned({ replicas }).rules(CHAIN)?.at(-1) ?? "";
  assert.equal(last.split("10.160.2.2 . 8080").length - 1, 3);
  assert.equal(last.split("10.160.3.2 . 8080").length - 1, 1);
});

test("planService: by source-hash, buckets of a doubtful upstream are in no map", () => {
  const traffic = { ...DEFAULT_TRAFFIC, balance: "source-hash" as const };
  const whole = planned({ traffic }).rules(CHAIN)?.at(-1) ?? "";
  const rest =
    planned({ traffic }, { ejected: new Set(["r2-2:8080"]) })
      .rules(CHAIN)
      ?.at(-1) ?? "";
  assert.equal(whole.split(" : ").length - 1, 256);
  assert.ok(rest.split(" : ").length < whole.split(" : ").length);
  assert.ok(!rest.includes("10.160.2.2"));
  for (const slot of rest.slice(rest.indexOf("{") + 2, -2).split(", ")) assert.ok(whole.includes(slot), slot);
});

test("planService: a published port is taken where the proxy listens, and only there", () => {
  const publish = [{ published: 8080, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
  assert.deepEqual(planned({ publish }).ports, []);
  const listening = new Set(["8080/tcp"]);
  assert.deepEqual(planned({ publish }, { listening }).ports, [`6 . 8080 jump ${CHAIN}`]);
  assert.deepEqual(planned({ publish, vip: null }, { listening }).ports, [`6 . 8080 jump ${CHAIN}`]);
});

test("planService: a port of mode host leads to this host's own replicas", () => {
  const publish = [{ published: 8080, port: 80, protocol: "tcp" as const, mode: "host" as const }];
  const { ports, rules } = planned({ publish }, { listening: new Set(["8080/tcp"]) });
  assert.deepEqual(ports, ["6 . 8080 jump local-app/web/80-tcp"]);
  assert.match(rules("local-app/web/80-tcp")?.at(-1) ?? "", /map \{ 0x53800000 : 10\.160\.1\.2 \. 8080 \}$/);
});

test("planService: upstreams on the LAN and those of source masquerade see this host's address", () => {
  const outside = replica("s", { local: false, reach: "direct", address: "192.0.2.9" });
  assert.deepEqual(planned({ replicas: [outside] }).masked, ["192.0.2.9 . 6 . 8080"]);
  const traffic = { ...DEFAULT_TRAFFIC, source: "masquerade" as const };
  assert.equal(planned({ traffic }).masked.length, 3);
  assert.deepEqual(planned({}).masked, []);
});

test("planService: a service whose name cannot be written is left to the proxy, its neighbours are not", () => {
  const wrong = service("x; flush ruleset", { replicas: [replica("a")], vip: "10.96.0.2" });
  const web = service("web", { replicas: [replica("b")] });
  const { sets, problems } = planRules(given({ services: [web, wrong] }), 0);
  assert.deepEqual([...(sets.get("vips") ?? [])], [["10.96.0.1 . 6 . 80", "jump all-default/web/80-tcp"]]);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /^service default\/x; flush ruleset is left to the proxy: service is/);
});

test("planService: flows may stay with those who have a right to them", () => {
  const replicas = [
    onOverlay(1, 2),
    onOverlay(2, 2, { tier: "draining" }),
    onOverlay(3, 2, { tier: "panic" }),
  ];
  assert.deepEqual(planned({ replicas }).endpoints, ["10.160.1.2 tcp 8080", "10.160.2.2 tcp 8080"]);
});

test("seeChain: a network's chain has its name, and no other text is one", () => {
  assert.equal(seeChain("app"), "see-app");
  assert.throws(() => seeChain("app }"), /expected letters/);
});
