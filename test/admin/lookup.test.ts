// Lookup: what names one thing finds it, what names several is refused with the list, typing errors with a guess.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { findMember, findReplica, findService } from "../../src/admin/lookup.ts";
import { nearest } from "../../src/base/nearest.ts";
import { member, OTHER, replica, SELF, service, view } from "./picture.ts";

const WEB = service("default", "web", { stack: "shop", aliases: ["www"] });
const FRONT_WEB = service("front", "web");
const API = service("front", "api");
const PICTURE = view({ services: [WEB, API, FRONT_WEB] });

function keyOf(text: string, network: string | null = null): string {
  const found = findService(PICTURE, text, network);
  return found.ok ? found.value.key : found.failure.code;
}

test("service: every name that DNS knows it by finds it, in any case", () => {
  const forms = ["web", "WEB", "web.default", "default/web", "web.default.skein.internal."];
  for (const name of [...forms, "www", "www.default", "default/www", "web.shop", "shop_web"]) {
    assert.equal(keyOf(name), "default/web", name);
  }
});

test("service: a bare name in several networks is that of the network default, else the only one", () => {
  assert.equal(keyOf("web"), "default/web");
  assert.equal(keyOf("api"), "front/api");
  assert.equal(keyOf("web", "front"), "front/web");
  assert.equal(keyOf("api", "default"), "not-found");
});

test("service: a bare name in several networks, none of them default, is refused with the candidates", () => {
  const found = findService(view({ services: [service("a", "db"), service("b", "db")] }), "db", null);
  assert.ok(!found.ok);
  assert.equal(found.failure.code, "usage");
  assert.match(found.failure.message, /a\/db, b\/db/);
});

test("service: a name that another service has as its alias is the name's", () => {
  const other = service("default", "api", { aliases: ["web"] });
  const found = findService(view({ services: [other, WEB] }), "web", null);
  assert.ok(found.ok);
  assert.equal(found.value, WEB);
});

test("service: a typing error is told with what was meant, nonsense without a guess", () => {
  const near = findService(PICTURE, "wbe", null);
  assert.match(near.ok ? "" : near.failure.message, /did you mean "web"\?/);
  const far = findService(PICTURE, "xxxxxxxx", null);
  assert.doesNotMatch(far.ok ? "" : far.failure.message, /did you mean/);
});

test("replica: id, start of the id and name find it", () => {
  const wanted = replica({ id: "abcdef012345", name: "web-1" });
  const other = replica({ id: "abffff012345", name: "web-2" });
  const picture = view({ services: [service("default", "web", { replicas: [wanted, other] })] });
  for (const text of ["abcdef012345", "abcd", "web-1"]) {
    const found = findReplica(picture, text);
    assert.ok(found.ok, text);
    assert.equal(found.value, wanted);
  }
  assert.equal(codeOf(findReplica(picture, "abc")), "not-found");
});

test("replica: a name on two hosts is refused with ids and hosts, at most five of them", () => {
  const replicas = Array.from({ length: 9 }, (_, at) => replica({ id: `id-${at}`, nodeName: `host-${at}` }));
  const found = findReplica(view({ services: [service("default", "web", { replicas })] }), "web-1");
  assert.equal(codeOf(found), "usage");
  assert.match(found.ok ? "" : found.failure.message, /id-0 \(on host-0\).*and 4 more/);
});

test("member: one that lives is meant before others of its name that are gone; several that live are refused", () => {
  const alive = member({ id: SELF, name: "host-1" });
  const dead = member({ id: OTHER, name: "host-1", state: "dead", self: false });
  const found = findMember(view({ members: [dead, alive] }), "HOST-1");
  assert.ok(found.ok);
  assert.equal(found.value, alive);
  const gone = findMember(view({ members: [dead] }), "host-1");
  assert.equal(gone.ok && gone.value, dead);
  const twice = findMember(view({ members: [alive, { ...dead, state: "suspect" }] }), "host-1");
  assert.equal(codeOf(twice), "usage");
  assert.match(
    twice.ok ? "" : twice.failure.message,
    new RegExp(`${SELF} \\(alive\\), ${OTHER} \\(suspect\\)`),
  );
  assert.equal(codeOf(findMember(view({ members: [alive] }), "aaa")), "not-found");
});

test("nearest: a text is its own nearest, and one changed character never leads further away than one", () => {
  const word = fc.stringMatching(/^[a-z]{1,12}$/);
  fc.assert(
    fc.property(word, fc.array(word), fc.nat(11), (text, others, at) => {
      assert.equal(nearest(text, [...others, text]), text);
      const changed = `${text.slice(0, at)}0${text.slice(at + 1)}`;
      const found = nearest(changed, [text]);
      assert.equal(found, text);
    }),
  );
});

test("nearest: a text of any length is answered, a hopeless one with null", () => {
  assert.equal(nearest("x".repeat(1_000_000), ["web"]), null);
  assert.equal(nearest("", ["web"]), null);
  assert.equal(nearest("web", []), null);
});

test("replica: what names one container on several networks finds the copy that stands for all", () => {
  const first = replica({ id: "abcdef012345", name: "web-1" });
  const second = replica({ id: "abcdef012345.back", name: "web-1" });
  const other = replica({ id: "ffcdef012345.back", name: "web-2" });
  const back = service("back", "web", { replicas: [second, other] });
  const picture = view({ services: [back, service("default", "web", { replicas: [first] })] });
  for (const [text, id] of [
    ["web-1", first.id],
    ["abcd", first.id],
    ["abcdef012345", first.id],
    ["abcdef012345.back", second.id],
  ] as const) {
    const found = findReplica(picture, text);
    assert.equal(found.ok ? found.value.id : found.failure.message, id, text);
  }
});

function codeOf(result: ReturnType<typeof findReplica | typeof findMember>): string {
  return result.ok ? "ok" : result.failure.code;
}
