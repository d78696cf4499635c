// Upstreams: who is reached by an address from here, and who gets traffic.

import assert from "node:assert/strict";
import { test } from "node:test";

import { carriedNetworks } from "../../../src/kernel/carried.ts";
import {
  candidates,
  isForKernel,
  keepsFlows,
  rampEndMs,
  upstreamsOf,
  wantsProxy,
  type Surroundings,
  type Upstream,
} from "../../../src/kernel/rules/upstreams.ts";
import { parsePrefix } from "../../../src/base/ip.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../../src/model/service.ts";
import type { Replica } from "../../../src/model/view.ts";

import { given, member, network, onOverlay, replica, service, type Scene } from "./fixtures.ts";

const TCP = { name: "web", port: 80, target: 8080, protocol: "tcp" as const };

function around(scene: Scene = {}): Surroundings {
  const all = given({ networks: [network("app")], ...scene });
  const pool = parsePrefix("10.96.0.0/12");
  assert.ok(pool.ok);
  return {
    zone: all.view.members.find(({ self }) => self)?.zone ?? "",
    memberById: new Map(all.view.members.map((each) => [each.id, each])),
    networkByName: new Map(all.view.networks.map((each) => [each.name, each])),
    carried: carriedNetworks(all),
    pool: pool.value,
    pool6: null,
  };
}

function only(one: Replica, scene: Scene = {}, ejected: readonly string[] = []): Upstream | undefined {
  const web = service("web", { network: "app", replicas: [one] });
  return upstreamsOf(web, TCP, { around: around(scene), ejected: new Set(ejected) })[0];
}

test("upstreamsOf: a replica of this host is reached at its address, but not on loopback", () => {
  assert.equal(only(replica("a"))?.address, "172.17.0.2");
  assert.equal(only(replica("a", { address: "127.0.0.1" }))?.address, null);
});

test("upstreamsOf: one of another host over an overlay that both carry", () => {
  assert.equal(only(onOverlay(2, 5))?.address, "10.160.2.5");
  assert.equal(only(onOverlay(2, 5), { networks: [] })?.address, null, "no such network");
  const plain = { id: "bbbbbbbbbbbbbbbbbbbb", name: "host-2" };
  const { overlay: _, ...without } = member(2);
  assert.equal(only(onOverlay(2, 5), { members: [member(1), { ...without, ...plain }] })?.address, null);
});

test("upstreamsOf: nobody leads others to an address outside of its own slice", () => {
  assert.equal(only(onOverlay(2, 5, { address: "10.160.3.5" }))?.address, null);
  assert.equal(only(onOverlay(2, 5, { address6: "fd12::1" }))?.address6, null);
});

test("upstreamsOf: one relayed by its host is reached by no address; a static one on the LAN is outside", () => {
  const far = { local: false, node: "bbbbbbbbbbbbbbbbbbbb" };
  assert.equal(only(replica("a", far))?.address, null);
  const fixed = only(replica("a", { ...far, reach: "direct", address: "192.0.2.9" }));
  assert.deepEqual([fixed?.address, fixed?.isOutside], ["192.0.2.9", true]);
  assert.equal(only(replica("a", { ...far, reach: "direct", address: "127.0.0.1" }))?.address, null);
});

test("upstreamsOf: a VIP is nobody's upstream, and a replica without the port is none", () => {
  assert.equal(only(replica("a", { address: "10.96.0.9" })), undefined);
  assert.equal(only(replica("a", { ports: [{ ...TCP, port: 81 }] })), undefined);
});

test("upstreamsOf: what the proxy has ejected is doubtful", () => {
  assert.equal(only(replica("a"), {}, ["a:8080"])?.isDoubtful, true);
  assert.equal(only(replica("a"), {}, ["a:8080/udp"])?.isDoubtful, false);
});

test("candidates: with prefer local the nearest, else all that are eligible", () => {
  const zoned = [member(1, { zone: "z" }), member(2, { zone: "z" }), member(3, { zone: "y" })];
  const scene = { members: zoned };
  const replicas = [onOverlay(3, 2), onOverlay(2, 2), onOverlay(2, 3, { tier: "draining" })];
  const web = service("web", { network: "app", replicas });
  const all = upstreamsOf(web, TCP, { around: around(scene), ejected: new Set() });
  const ids = (prefer: "any" | "local"): readonly string[] =>
    candidates(all, { prefer }, around(scene)).map(({ id }) => id);
  assert.deepEqual(ids("any"), ["r2-2:8080", "r3-2:8080"]);
  assert.deepEqual(ids("local"), ["r2-2:8080"]);
  assert.deepEqual(candidates([], { prefer: "local" }, around(scene)), []);
});

test("isForKernel: TCP and UDP flows, in turn or by address; the rest is the proxy's", () => {
  assert.equal(isForKernel(TCP, DEFAULT_TRAFFIC), true);
  assert.equal(isForKernel(TCP, { ...DEFAULT_TRAFFIC, balance: "source-hash" }), true);
  assert.equal(isForKernel({ ...TCP, protocol: "http" }, DEFAULT_TRAFFIC), false);
  assert.equal(isForKernel(TCP, { ...DEFAULT_TRAFFIC, balance: "p2c" }), false);
  const udp = { ...TCP, protocol: "udp" as const };
  assert.equal(isForKernel(udp, DEFAULT_TRAFFIC), true);
  assert.equal(isForKernel(udp, { ...DEFAULT_TRAFFIC, udpMode: "datagram" }), false);
  assert.equal(isForKernel(udp, { ...DEFAULT_TRAFFIC, udpIdleMs: 5000 }), false);
});

test("wantsProxy: an upstream that wants to be told of its client", () => {
  const told = only(replica("a", { delivery: { ...DEFAULT_DELIVERY, proxyProtocol: "v1" } }));
  assert.ok(told !== undefined);
  assert.equal(wantsProxy(told), true);
});

test("rampEndMs: a young upstream beside an old one is warming up, one beside its like is not", () => {
  const aged = (...since: readonly number[]): readonly Upstream[] =>
    since.flatMap((sinceMs, at) => only(replica(`r${at}`, { sinceMs })) ?? []);
  assert.equal(rampEndMs(aged(0, 50_000), { slowStartMs: 10_000 }, 52_000), 60_000);
  assert.equal(rampEndMs(aged(0, 50_000), { slowStartMs: 10_000 }, 60_000), null);
  assert.equal(rampEndMs(aged(50_000, 50_100), { slowStartMs: 10_000 }, 50_200), null);
  assert.equal(rampEndMs(aged(0, 50_000), { slowStartMs: 0 }, 50_001), null);
});

test("keepsFlows: a draining one keeps what it has; a doubtful, unready or gone one does not", () => {
  const keeps = (changes: Partial<Replica>, ejected: readonly string[] = []): boolean => {
    const one = only(replica("a", changes), {}, ejected);
    return one !== undefined && keepsFlows(one);
  };
  assert.equal(keeps({}), true);
  assert.equal(keeps({ tier: "draining" }), true);
  assert.equal(keeps({ tier: "never", weight: 0 }), true);
  assert.equal(keeps({ tier: "panic" }), false);
  assert.equal(keeps({ tier: "never", keepsConnections: false, weight: 0 }), false);
  assert.equal(keeps({}, ["a:8080"]), false);
});
