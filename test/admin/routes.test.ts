// Routes: one list says what there is, in a form from which an API document can be made.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { nearestRoute, ROUTES, routesAt } from "../../src/admin/routes.ts";

test("routes: a path leads to its routes, parameters hold one part that is not empty", () => {
  const ids = (path: string): readonly string[] => routesAt(path).map((route) => route.id);
  assert.deepEqual(ids("/api/v1/status"), ["status"]);
  assert.deepEqual(ids("/api/v1/services/default/web"), ["serviceInNetwork"]);
  assert.deepEqual(ids("/api/v1/services/"), []);
  assert.deepEqual(ids("/api/v1/status/"), []);
});

test("routes: the nearest one is found for a typing error and for a forgotten prefix", () => {
  assert.equal(nearestRoute("/api/v1/sevices"), "/api/v1/services");
  assert.equal(nearestRoute("/status"), "/api/v1/status");
  assert.equal(nearestRoute("/wp-login.php"), null);
});

test("routes: ids and paths are unique, and the braces of a path are its path parameters", () => {
  assert.equal(new Set(ROUTES.map(({ id }) => id)).size, ROUTES.length);
  assert.equal(new Set(ROUTES.map(({ method, path }) => `${method} ${path}`)).size, ROUTES.length);
  for (const { path, parameters } of ROUTES) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    const told = parameters.filter((one) => one.in === "path").map(({ name }) => name);
    assert.deepEqual(new Set<string | undefined>(told), new Set(named), path);
  }
});

test("routes: what changes something, or tells a secret, needs full rights; the rest reads", () => {
  for (const { method, path, access } of ROUTES)
    assert.equal(access, method === "GET" && !path.startsWith("/api/v1/tokens/") ? "read" : "full", path);
});

test("routes: every type they name is one of the contract", () => {
  const files = ["contract.ts", "contract-trust.ts", "contract-network.ts"];
  const contract = files
    .map((file) => readFileSync(join(import.meta.dirname, "../../src/admin", file), "utf8"))
    .join("\n");
  for (const route of ROUTES) {
    for (const name of [route.response, "request" in route ? route.request : "text"]) {
      if (name === "text") continue;
      assert.match(contract, new RegExp(`export interface ${name.replace("[]", "")} `));
    }
  }
});
