// The catalogue of checks: names that say their area, and a reason for each.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CHECKS, listed, made, problemCheck } from "../../../src/admin/checks/catalogue.ts";
import { DOCTOR_AREAS } from "../../../src/admin/contract-doctor.ts";

test("checks: every name begins with its area, and has a reason that is a clause of its own", () => {
  for (const [id, [area, why]] of Object.entries(CHECKS)) {
    // The table of connections and its like are parts of the host.
    assert.ok(id.startsWith(`${area}.`), id);
    assert.match(why, /^[a-zA-Z].{10,}[^.]$/, id);
    assert.ok(DOCTOR_AREAS.includes(area), area);
  }
});

test("checks: one that is made has the area and the reason of its name, and no remedy unless told", () => {
  const check = made("clock.skew", { subject: "host-2", state: "ok", text: "agree" });
  const [area, why] = CHECKS["clock.skew"];
  assert.deepEqual(check, {
    id: "clock.skew",
    area,
    why,
    subject: "host-2",
    state: "ok",
    text: "agree",
    remedy: null,
  });
  assert.equal(made("clock.skew", { ...check, remedy: "set it" }).remedy, "set it");
});

test("checks: a problem of status keeps its words, and is named by its area", () => {
  const check = problemCheck({ area: "tls", subject: "web.pem", text: "has ended" }, "warn");
  assert.deepEqual([check.id, check.area, check.text], ["problem.tls", "tls", "has ended"]);
  assert.notEqual(check.why, "");
});

test("checks: eight names are told, and more are counted", () => {
  const names = Array.from({ length: 11 }, (_, at) => `host-${at}`);
  assert.equal(listed(names.slice(0, 8)), names.slice(0, 8).join(", "));
  assert.match(listed(names), /^host-0, .*, host-7 and 3 more$/);
});
