// Match: host and path to a route, against an oracle that looks at every route.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { indexRoutes, matchRoute, normalHost } from "../../../src/proxy/http/match.ts";
import type { IngressRoute } from "../../../src/proxy/routes.ts";

import { pool } from "../fixtures.ts";

const TO = pool();

function routes(...texts: readonly string[]): readonly IngressRoute[] {
  return texts.map((text) => {
    const slash = text.indexOf("/");
    return { host: text.slice(0, slash), path: text.slice(slash), pool: TO };
  });
}

function found(index: ReturnType<typeof indexRoutes>, host: string, target: string): string | null {
  const route = matchRoute(index, host, target);
  return route === null ? null : `${route.host}${route.path}`;
}

test("matchRoute: an exact host outranks a wildcard, a longer suffix a shorter one", () => {
  const index = indexRoutes(routes("*.example.com/", "*.eu.example.com/", "app.eu.example.com/"));
  assert.equal(found(index, "app.eu.example.com", "/"), "app.eu.example.com/");
  assert.equal(found(index, "api.eu.example.com", "/"), "*.eu.example.com/");
  assert.equal(found(index, "a.b.example.com", "/"), "*.example.com/");
  assert.equal(found(index, "example.com", "/"), null);
});

test("matchRoute: the longest path prefix wins, at a segment boundary", () => {
  const index = indexRoutes(routes("h/", "h/api", "h/api/v1"));
  assert.equal(found(index, "h", "/api/v1/users?x=/api"), "h/api/v1");
  assert.equal(found(index, "h", "/api/v10"), "h/api");
  assert.equal(found(index, "h", "/apiary"), "h/");
  assert.equal(found(index, "h", "/api?q"), "h/api");
  assert.equal(found(index, "h", "*"), "h/");
  assert.equal(found(index, "h", "//api"), "h/");
});

test("matchRoute: a host whose paths do not fit falls through to a wildcard", () => {
  const index = indexRoutes(routes("a.example.com/api", "*.example.com/"));
  assert.equal(found(index, "a.example.com", "/other"), "*.example.com/");
});

test("matchRoute: case, port and closing dot of the Host header do not matter", () => {
  const index = indexRoutes(routes("app.example.com/"));
  for (const host of ["APP.example.com", "app.example.com:8080", "app.example.com.", "App.Example.com.:80"]) {
    assert.equal(found(index, host, "/"), "app.example.com/", host);
  }
  assert.equal(normalHost("[::1]:80"), "[::1]");
});

test("matchRoute: a path of thousands of slashes costs no more than the deepest route", () => {
  const index = indexRoutes(routes("h/a/b"));
  const path = `/a/b${"/x".repeat(16_000)}`;
  for (let times = 0; times < 2000; times += 1) assert.equal(found(index, "h", path), "h/a/b");
});

test("matchRoute: agrees with a search of all routes", () => {
  const host = fc
    .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 })
    .map((labels) => labels.join("."));
  const path = fc
    .array(fc.constantFrom("x", "y", "xy"), { maxLength: 3 })
    .map((parts) => `/${parts.join("/")}`);
  const routeHost = fc
    .tuple(fc.boolean(), host)
    .map(([isWildcard, name]) => (isWildcard ? `*.${name}` : name));
  const anyRoutes = fc.uniqueArray(fc.record({ host: routeHost, path, pool: fc.constant(TO) }), {
    selector: (route) => `${route.host} ${route.path}`,
    maxLength: 20,
  });
  fc.assert(
    fc.property(anyRoutes, host, path, (all, askedHost, askedPath) => {
      assert.deepEqual(matchRoute(indexRoutes(all), askedHost, askedPath), oracle(all, askedHost, askedPath));
    }),
  );
});

function oracle(all: readonly IngressRoute[], host: string, path: string): IngressRoute | null {
  const fitting = all.filter((route) => {
    const hostFits = route.host.startsWith("*.") ? host.endsWith(route.host.slice(1)) : host === route.host;
    return hostFits && (route.path === "/" || path === route.path || path.startsWith(`${route.path}/`));
  });
  const rank = (route: IngressRoute): readonly number[] => [
    route.host.startsWith("*.") ? 0 : 1,
    route.host.length,
    route.path.length,
  ];
  return fitting.toSorted((one, other) => compare(rank(other), rank(one)))[0] ?? null;
}

function compare(one: readonly number[], other: readonly number[]): number {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at === -1 ? 0 : (one[at] ?? 0) - (other[at] ?? 0);
}
