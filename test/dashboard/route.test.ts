// Route: every page has one address, any name can stand in it, and no address breaks the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  hostAddress,
  networkAddress,
  pageAddress,
  pageOf,
  PAGES,
  routeOf,
  serviceAddress,
} from "../../src/dashboard/route.ts";

const name = fc.string({ minLength: 1, maxLength: 20, unit: "binary" }).filter((text) => text.isWellFormed());

test("the address of a service leads back to it, whatever its name holds", () => {
  fc.assert(
    fc.property(
      name.filter((text) => !text.includes("/")),
      name,
      (network, service) => {
        const route = routeOf(serviceAddress(`${network}/${service}`));
        assert.deepEqual(route, { kind: "service", network, name: service });
      },
    ),
  );
});

test("the addresses of hosts and networks lead back to them", () => {
  fc.assert(
    fc.property(name, (text) => {
      assert.deepEqual(routeOf(hostAddress(text)), { kind: "host", name: text });
      assert.deepEqual(routeOf(networkAddress(text)), { kind: "network", name: text });
    }),
  );
});

test("what is asked of a page stands in its address", () => {
  fc.assert(
    fc.property(name, name, (key, value) => {
      const route = routeOf(pageAddress("services", { [key]: value }));
      assert.ok(route.kind === "page");
      assert.equal(route.asked[key], value);
    }),
  );
  assert.equal(pageAddress("services", { q: "", state: "down" }), "#/services?state=down");
});

test("each page has an address, and none is the overview's", () => {
  for (const page of PAGES) {
    const route = routeOf(pageAddress(page));
    assert.equal(pageOf(route), page);
  }
  assert.equal(pageOf(routeOf("")), "overview");
});

test("any text is an address: of a page, or of none", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const route = routeOf(`#${text}`);
      assert.ok(route.kind === "unknown" ? pageOf(route) === null : pageOf(route) !== null);
    }),
  );
  assert.equal(routeOf("#/hosts/%").kind, "unknown");
  assert.equal(routeOf("#/nowhere").kind, "unknown");
  assert.equal(routeOf("#/services/a/b/c").kind, "unknown");
});
