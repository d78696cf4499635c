// A new claim is tentative until everybody has applied it, and for half a second at most.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Settling, TENTATIVE_MS } from "../../src/view/settling.ts";

const nobody = () => [];
const somebody = () => ["host-2"];

test("settling: a claim settles once every alive member has applied the version that holds it", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  settling.written(7);
  const lagging = (applied: number) => (version: number) => (version > applied ? ["host-2"] : []);
  assert.deepEqual(settling.settle(lagging(6), 1010), []);
  assert.deepEqual(settling.settle(lagging(7), 1020), ["vip/default/web"]);
  assert.equal(settling.isWaiting, false);
  assert.deepEqual(settling.settle(lagging(7), 1030), []);
});

test("settling: a later write of something else does not move the version that has to be applied", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  settling.written(7);
  settling.begin("vip/default/api", 1005);
  settling.written(9);
  const versions: number[] = [];
  settling.settle((version) => (versions.push(version), somebody()), 1010);
  assert.deepEqual(versions, [7, 9]);
});

test("settling: after half a second it counts as settled, whoever has not answered", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  settling.written(7);
  assert.deepEqual(settling.settle(somebody, 1000 + TENTATIVE_MS - 1), []);
  assert.deepEqual(settling.settle(somebody, 1000 + TENTATIVE_MS), ["vip/default/web"]);
});

test("settling: what has not been written yet is settled by nobody and by no time", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  assert.deepEqual(settling.settle(nobody, 1000 + TENTATIVE_MS), []);
  assert.equal(settling.isWaiting, true);
});

test("settling: another claim under the same key starts anew, one that is let go is forgotten", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  settling.written(7);
  settling.begin("vip/default/web", 1400);
  assert.deepEqual(settling.settle(nobody, 1450), [], "not written yet");
  settling.written(8);
  assert.deepEqual(settling.settle(somebody, 1000 + TENTATIVE_MS), []);
  settling.end("vip/default/web");
  assert.equal(settling.isWaiting, false);
});

test("settling: a log that was started anew is waited for by its new numbers", () => {
  const settling = new Settling();
  settling.begin("vip/default/web", 1000);
  settling.written(700);
  settling.written(3);
  const asked: number[] = [];
  settling.settle((version) => (asked.push(version), nobody()), 1010);
  assert.deepEqual(asked, [3]);
});
