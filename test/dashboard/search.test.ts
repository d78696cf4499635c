// Search: everything is found by what somebody may have of it, the likeliest first.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { boardOf } from "../../src/dashboard/board.ts";
import { routeOf } from "../../src/dashboard/route.ts";
import { HITS_MAX, hitsFor, ownerOf, replicaHits } from "../../src/dashboard/search.ts";

import { drain, largePicture, member, picture, rates, replica, report, service, T0 } from "./pictures.ts";

const BOARD = boardOf(
  picture({
    members: [member("web-host", { address: "192.168.7.9:7650" }), member("host-2")],
    services: [service("web"), service("web-api", { vip: "10.96.3.4" }), service("shop-web")],
    drains: [drain("api-3", { node: "host-2" })],
  }),
);
const TRAFFIC = report(T0, {
  replicas: [{ id: "r1", service: "default/web", name: "web-1", node: "host-2", rates: rates() }],
});

function found(text: string): readonly string[] {
  return hitsFor(text, BOARD, TRAFFIC).map((hit) => `${hit.kind} ${hit.name}`);
}

test("the thing of exactly that name comes first, then what begins so, then what holds it", () => {
  assert.equal(found("web")[0], "service default/web");
  assert.equal(found("web").at(-1), "service default/shop-web");
  assert.ok(found("web").includes("host web-host") && found("web").includes("replica web-1"));
});

test("hosts and services are found by address, replicas by name while they drain or have traffic", () => {
  assert.deepEqual(found("192.168.7.9"), ["host web-host"]);
  assert.deepEqual(found("10.96.3.4"), ["service default/web-api"]);
  assert.deepEqual(found("api-3"), ["replica api-3"]);
  assert.deepEqual(found("events"), ["page events"]);
  assert.ok(found("app").includes("network app"));
});

test("no letters find nothing, and whatever is typed finds a dozen at most, each with a page", () => {
  const large = boardOf(largePicture(100, 1000));
  assert.deepEqual(hitsFor("  ", large, null), []);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.constantFrom("service", "host-", "10.96")), (text) => {
      const hits = hitsFor(text, large, null);
      assert.ok(hits.length <= HITS_MAX);
      for (const hit of hits) assert.notEqual(routeOf(hit.address).kind, "unknown");
    }),
    { numRuns: 30 },
  );
});

test("a replica is found by its own name, or the start of its id, through the service it is named after", () => {
  const owner = (text: string): string | undefined => ownerOf(text, BOARD.services)?.name;
  assert.deepEqual(["web-7", "shop-web-1", "shop_web-api-2", "db-1", "web"].map(owner), [
    "web",
    "shop-web",
    "web-api",
    undefined,
    undefined,
  ]);
  const replicas = [replica("web-7"), replica("web-12", { node: "host-2", id: "c0ffee" })];
  const explained = { network: "default", name: "web", vip: null, replicas, problems: [] };
  const found = (text: string) => replicaHits(text, { ...explained, vipTentative: false, aliasVips: [] });
  assert.deepEqual(found("web-1"), [
    { kind: "replica", name: "web-12", detail: "default/web on host-2", address: "#/services/default/web" },
  ]);
  assert.deepEqual([found("C0FF").length, found("web-9").length], [1, 0]);
});
