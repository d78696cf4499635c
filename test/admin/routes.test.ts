// Routes: one list says what there is, in a form from which an API document can be made.

import assert from "node:assert/strict";
import { test } from "node:test";

import { matchesAt, nearestRoute, ROUTES, routesAt } from "../../src/admin/routes.ts";
import { contractTexts } from "./contract-texts.ts";

test("routes: a path leads to its routes, parameters hold one part that is not empty", () => {
  const ids = (path: string): readonly string[] => routesAt(path).map((route) => route.id);
  assert.deepEqual(ids("/api/v1/status"), ["status"]);
  assert.deepEqual(ids("/api/v1/services/default/web"), ["serviceInNetwork"]);
  assert.deepEqual(ids("/api/v1/services/"), []);
  assert.deepEqual(ids("/api/v1/status/"), []);
});

test("routes: parts are decoded one by one, so what a parameter holds cannot make a path another one", () => {
  const named = (path: string) => matchesAt(path).map(({ route, params }) => [route.id, params["name"]]);
  assert.deepEqual(named("/api/v1/services/default%2Fweb"), [["service", "default/web"]]);
  assert.deepEqual(named("/api/v1/%73ervices/web%20a"), [["service", "web a"]]);
  assert.deepEqual(named("/api/v1/services/50%"), [["service", "50%"]]);
  assert.deepEqual(named("/api/v1%2Fservices/web"), []);
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
  const contract = contractTexts().join("\n");
  const plain = new Set(["text", "stream", "file", "document"]);
  for (const { response, request = "text" } of ROUTES) {
    for (const name of [response, request]) {
      if (!plain.has(name)) assert.match(contract, new RegExp(`export interface ${name.replace("[]", "")} `));
    }
  }
});
