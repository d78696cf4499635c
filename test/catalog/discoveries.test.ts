// Discoveries: the newest set of each source, and what may be concluded from what is not in them.

import assert from "node:assert/strict";
import test from "node:test";

import { Discoveries } from "../../src/catalog/discoveries.ts";
import type { Discovery, LocalClient, Problem } from "../../src/model/endpoint.ts";
import { endpoint } from "../simulation/workload.ts";

function discovery(source: string, ids: readonly string[], over: Partial<Discovery> = {}): Discovery {
  const endpoints = ids.map((id) => endpoint("web", id));
  return { source, endpoints, clients: [], problems: [], stale: null, ...over };
}

function client(name: string, address: string): LocalClient {
  return { name, address, networks: ["default"], isolated: false };
}

test("discoveries: each source's newest set counts, beside those of the others", () => {
  const discoveries = new Discoveries(["static", "docker"]);
  discoveries.take(discovery("static", ["a"]), 1);
  discoveries.take(discovery("docker", ["b", "c"]), 2);
  discoveries.take(discovery("docker", ["c"]), 3);
  assert.deepEqual(
    discoveries.endpoints.map(({ id }) => id),
    ["a", "c"],
  );
  assert.equal(discoveries.endpoint("a")?.id, "a");
  assert.equal(discoveries.endpoint("b"), null);
});

test("discoveries: not all is heard before each source has told what it found, even if it is nothing", () => {
  const discoveries = new Discoveries(["static", "docker"]);
  assert.equal(discoveries.heardAll, false);
  discoveries.take(discovery("static", []), 1);
  assert.equal(discoveries.heardAll, false);
  discoveries.take(discovery("docker", [], { stale: "docker does not answer" }), 2);
  assert.equal(discoveries.heardAll, false, "what it could not look at is not nothing");
  discoveries.take(discovery("docker", []), 3);
  assert.equal(discoveries.heardAll, true);
});

test("discoveries: what is missing counts as gone only when every set is there and fresh", () => {
  const discoveries = new Discoveries(["static", "docker"]);
  discoveries.take(discovery("static", []), 1);
  assert.equal(discoveries.isWhole, false, "docker may know more");
  discoveries.take(discovery("docker", ["a"], { stale: "docker does not answer" }), 2);
  assert.equal(discoveries.isWhole, false, "docker may know better");
  discoveries.take(discovery("docker", ["a"]), 3);
  assert.equal(discoveries.isWhole, true);
});

test("discoveries: clients are found by address and by name, and go with their source's next set", () => {
  const discoveries = new Discoveries(["docker"]);
  const clients = [client("web-1", "172.17.0.2"), client("api-1", "172.17.0.3")];
  discoveries.take(discovery("docker", [], { clients }), 1);
  assert.equal(discoveries.client("172.17.0.2")?.name, "web-1");
  assert.equal(discoveries.client("api-1")?.address, "172.17.0.3");
  assert.deepEqual(discoveries.clientNames, ["api-1", "web-1"]);
  discoveries.take(discovery("docker", []), 2);
  assert.equal(discoveries.client("web-1"), null);
});

test("discoveries: a problem is told once, while it lasts; going stale and coming back are told", () => {
  const problem: Problem = { subject: "container web-1", text: 'label "skein.prot" is unknown' };
  const other: Problem = { subject: "container api-1", text: "no port is known" };
  const discoveries = new Discoveries(["docker"]);
  const kinds = (...args: Parameters<Discoveries["take"]>) =>
    discoveries.take(...args).map(({ kind }) => kind);
  assert.deepEqual(kinds(discovery("docker", [], { problems: [problem] }), 1), ["source.problem"]);
  assert.deepEqual(kinds(discovery("docker", ["a"], { problems: [problem, other] }), 2), ["source.problem"]);
  assert.deepEqual(discoveries.problems, [problem, other]);
  assert.deepEqual(kinds(discovery("docker", ["a"], { stale: "gone" }), 3), ["source.stale"]);
  assert.deepEqual(kinds(discovery("docker", ["a"], { stale: "gone, still" }), 4), []);
  assert.deepEqual(kinds(discovery("docker", ["a"]), 5), ["source.fresh"]);
  assert.deepEqual(kinds(discovery("docker", ["a"], { problems: [problem] }), 6), ["source.problem"]);
});

test("discoveries: it is known whether a source is there, has told, or could not look", () => {
  const discoveries = new Discoveries(["static", "docker"]);
  discoveries.take(discovery("static", []), 1);
  assert.deepEqual([discoveries.standing("docker"), discoveries.isAwaiting], ["awaited", true]);
  discoveries.take(discovery("docker", [], { stale: "docker does not answer" }), 2);
  assert.deepEqual([discoveries.standing("docker"), discoveries.isAwaiting], ["failing", false]);
  discoveries.take(discovery("docker", []), 3);
  discoveries.take(discovery("docker", [], { stale: "docker does not answer" }), 4);
  assert.deepEqual([discoveries.standing("docker"), discoveries.isAwaiting], ["told", false]);
  assert.equal(discoveries.standing("podman"), "none");
});

test("discoveries: a container that is called like an address does not have it", () => {
  const discoveries = new Discoveries(["docker"]);
  discoveries.take(discovery("docker", [], { clients: [client("10.0.0.1", "172.17.0.2")] }), 1);
  assert.equal(discoveries.clientAt("10.0.0.1"), null);
  assert.equal(discoveries.clientAt("172.17.0.2")?.name, "10.0.0.1");
  assert.equal(discoveries.client("10.0.0.1")?.address, "172.17.0.2");
});
