// This node's claims: held for what it runs, let go for what it does not, remembered for what may return.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Claim } from "../../src/model/kept.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { parseRecord } from "../../src/model/record.ts";
import { Claims } from "../../src/view/claims.ts";
import { assign, type Assignment } from "../../src/view/vip.ts";

import { POOL } from "./cluster.ts";

const NOBODY = assign([], POOL);

/** What an assignment is after this node's writes went round. */
function after(writes: ReadonlyMap<string, string | null>): Assignment {
  const claims = [...writes].flatMap(([key, body]): Claim[] => {
    const parsed = body === null ? null : parseRecord(key, body);
    assert.ok(parsed === null || (parsed.ok && parsed.value?.kind === "vip"), `${key} is well-formed`);
    if (parsed === null || !parsed.ok || parsed.value?.kind !== "vip") return [];
    const { network, service, address, order } = parsed.value;
    return [{ key: `${network}/${service}`, address, order }];
  });
  return assign(claims, POOL);
}

test("claims: one record a service, well-formed under its key", () => {
  const writes = new Claims(POOL, []).update(new Set(["default/web", "other/web"]), NOBODY);
  assert.deepEqual([...writes.keys()], ["vip/default/web", "vip/other/web"]);
  assert.equal(after(writes).claimByKey.size, 2);
});

test("claims: the claim of a service that runs here no more is let go, once", () => {
  const claims = new Claims(POOL, []);
  const held = after(claims.update(new Set(["default/a", "default/b"]), NOBODY));
  const writes = claims.update(new Set(["default/b"]), held);
  assert.equal(writes.get("vip/default/a"), null);
  assert.equal(claims.update(new Set(["default/b"]), held).has("vip/default/a"), false);
});

test("claims: what settles stays settled: the same services write the same bodies", () => {
  const claims = new Claims(POOL, []);
  const keys = new Set(["default/a", "default/b"]);
  const first = claims.update(keys, NOBODY);
  assert.deepEqual(claims.update(keys, after(first)), first);
});

test("claims: a service that returns, here or in a later run, gets its address back", () => {
  const claims = new Claims(POOL, [{ key: "default/web", address: "10.96.77.77", order: 4 }]);
  const first = claims.update(new Set(["default/web"]), NOBODY);
  assert.equal(after(first).claimByKey.get("default/web")?.address, "10.96.77.77");
  claims.update(new Set(), after(first));
  const again = new Claims(POOL, claims.remembered).update(new Set(["default/web"]), NOBODY);
  assert.deepEqual(again, first);
});

test("claims: past the bound the ones used longest ago are forgotten, never one in use", () => {
  const kept = Array.from({ length: LIMITS.claimsRemembered }, (_, index) => {
    return { key: `default/s${index}`, address: `10.96.${index >> 8}.${index & 255}`, order: 1 };
  });
  const claims = new Claims(POOL, kept);
  claims.update(new Set(["default/s0", "default/new"]), NOBODY);
  const remembered = new Set(claims.remembered.map(({ key }) => key));
  assert.equal(remembered.size, LIMITS.claimsRemembered);
  assert.ok(remembered.has("default/s0") && remembered.has("default/new"));
  assert.ok(!remembered.has("default/s1"));
});
