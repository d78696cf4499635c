// Lanes: what was learnt on the way to a pool stays with the listener or route that leads there.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import { Lanes } from "../../src/proxy/lanes.ts";
import type { IngressRoute, Pool, RouteTable } from "../../src/proxy/routes.ts";

import { frontend, pool, table, upstream } from "./fixtures.ts";

const TO = pool([upstream("a", 1)]);

function lanesOf(first: RouteTable): Lanes {
  const lanes = new Lanes(seededRandom(1));
  lanes.set(first);
  return lanes;
}

function route(host: string, to: Pool): IngressRoute {
  return { host, path: "/", pool: to };
}

test("lanes: a lane lives on across tables, with the newest pool", () => {
  const at = frontend("tcp", TO);
  const lanes = lanesOf(table([at]));
  const lane = lanes.ofFrontend(at);
  const next = pool([upstream("b", 1)]);
  lanes.set(table([frontend("tcp", next)]));
  assert.equal(lanes.ofFrontend(at), lane);
  assert.equal(lane?.pool, next);
});

test("lanes: two listeners of one pool have their own turns, two routes to it share theirs", () => {
  const [one, other] = [frontend("tcp", TO), frontend("tcp", TO, { port: 1 })];
  const routes = [route("a.example", TO), route("b.example", TO)];
  const lanes = lanesOf(table([one, other], routes));
  assert.notEqual(lanes.ofFrontend(one), lanes.ofFrontend(other));
  assert.equal(lanes.ofRoute({ pool: TO }), lanes.ofRoute(route("b.example", { ...TO })));
  assert.notEqual(lanes.ofRoute({ pool: TO }), lanes.ofRoute({ pool: { ...TO, port: 81 } }));
});

test("lanes: TCP and UDP of one port are told apart", () => {
  const [tcp, udp] = [frontend("tcp", TO), frontend("udp", TO)];
  const lanes = lanesOf(table([tcp, udp]));
  assert.notEqual(lanes.ofFrontend(tcp), lanes.ofFrontend(udp));
});

test("lanes: what has left a complete table has no lane, and its pool counts no longer", () => {
  const at = frontend("tcp", TO);
  const lanes = lanesOf(table([at], [route("a.example", TO)]));
  lanes.set({ ...table([]), complete: false });
  assert.equal(lanes.pools.length, 2);
  lanes.set(table([]));
  assert.deepEqual([lanes.ofFrontend(at), lanes.ofRoute({ pool: TO }), lanes.pools], [null, null, []]);
});

test("lanes: passthrough routes have lanes as others do", () => {
  const ingress = {
    address: "127.0.0.2",
    port: null,
    httpsPort: 8443,
    routes: [],
    passthrough: [{ host: "a.example", pool: TO }],
  };
  assert.equal(lanesOf({ ...table([]), ingress }).ofRoute({ pool: TO })?.pool, TO);
});
