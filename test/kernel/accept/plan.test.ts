// Plan: Docker is asked where something may be led to a container, with overlay networks or without.

import assert from "node:assert/strict";
import { test } from "node:test";

import { planAccept } from "../../../src/kernel/accept/plan.ts";
import { givenOf } from "../links/cluster.ts";
import { given, replica, service } from "../rules/fixtures.ts";

test("accept: wanted with a service that runs somewhere, or a bridge of a network; else not", () => {
  const web = service("web", { replicas: [replica("r1")] });
  assert.deepEqual(planAccept(given({ services: [web] })), { isWanted: true });
  assert.deepEqual(planAccept(givenOf()), { isWanted: true });
  assert.deepEqual(planAccept(given({ services: [service("web", { replicas: [] })] })), { isWanted: false });
});
