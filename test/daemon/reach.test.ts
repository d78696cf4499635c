// Reach: what other hosts are told of containers on overlay networks before this host carries those.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openReach, withinReach } from "../../src/daemon/reach.ts";
import type { Discovered, Discovery } from "../../src/model/endpoint.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import type { Input } from "../../src/step.ts";

function endpoint(name: string, over: Partial<Discovered>): Discovered {
  return {
    id: name,
    name,
    slot: null,
    network: "app",
    service: "web",
    stack: null,
    address: "10.160.3.2",
    reach: "overlay",
    declaration: EMPTY_DECLARATION,
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1,
    declaredAtMs: 1,
    lifecycle: "running",
    health: { kind: "none" },
    ...over,
  };
}

function discoveryOf(...endpoints: readonly Discovered[]): Discovery {
  return { source: "docker", endpoints, clients: [], problems: [], stale: null };
}

const APP = endpoint("web-1", {});
const BLUE = endpoint("web-2", { network: "blue" });
const PLAIN = endpoint("web-3", { network: "default", reach: "stream" });
const WHOLE = discoveryOf(APP, BLUE, PLAIN);

test("reach: a container is reached by streams until its network is carried, and others are as they are", () => {
  const { endpoints } = withinReach(WHOLE, new Set(["app"]));
  assert.deepEqual(
    endpoints.map(({ name, reach }) => `${name} ${reach}`),
    ["web-1 overlay", "web-2 stream", "web-3 stream"],
  );
  assert.equal(endpoints[0], APP);
});

test("reach: where all networks are carried the discovery is the same object", () => {
  assert.equal(withinReach(WHOLE, new Set(["app", "blue"])), WHOLE);
});

test("reach: a network that comes to be carried is told at once, and nothing is told twice", () => {
  const fed: Input[] = [];
  let carried: ReadonlySet<string> = new Set();
  const reach = openReach(
    (input) => fed.push(input),
    () => carried,
  );
  const toldLast = (): string => {
    const last = fed.at(-1);
    if (last?.kind !== "discovered") return "";
    return last.discovery.endpoints.map(({ reach: how }) => how).join(" ");
  };
  reach.feed({ kind: "discovered", discovery: WHOLE });
  assert.equal(toldLast(), "stream stream stream");
  carried = new Set(["app", "blue"]);
  reach.again();
  assert.equal(toldLast(), "overlay overlay stream");
  reach.again();
  assert.equal(fed.length, 2);
  carried = new Set(["blue"]);
  reach.again();
  assert.equal(toldLast(), "stream overlay stream");
});

test("reach: what is no discovery passes", () => {
  const fed: Input[] = [];
  openReach(
    (input) => fed.push(input),
    () => new Set(),
  ).feed({ kind: "tick" });
  assert.deepEqual(fed, [{ kind: "tick" }]);
});
