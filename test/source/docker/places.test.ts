// Places: in which networks a container is found, at which address, and what stays the same while others come and go.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { overlaysOf, placesOf } from "../../../src/source/docker/places.ts";
import { facts, idOf, labels } from "./fixture.ts";

const OVERLAYS = new Set(["app", "back", "call"]);
const KNOWN = { named: null, host: null, overlays: OVERLAYS };

const on = (...networks: string[]) => ({
  networks,
  attachments: networks.flatMap((network, index) => [
    { network, address: `10.160.${index}.2` },
    { network, address: `FD12:0::${index}:2` },
  ]),
});

test("places: on an overlay network it is reached by its addresses there, from every host that carries it", () => {
  const places = placesOf(facts({ ...on("bridge", "app"), networkMode: "app" }), KNOWN);
  assert.deepEqual(places, [
    { id: "aaaaaaaaaaaa", network: "app", address: "10.160.1.2", address6: "fd12::1:2", reach: "overlay" },
  ]);
});

test("places: a label names the network; only an address on that very network means anything on other hosts", () => {
  const container = facts({ ...on("app", "bridge"), networkMode: "app" });
  const [named] = placesOf(container, { ...KNOWN, named: "app" });
  assert.deepEqual([named?.network, named?.reach], ["app", "overlay"]);
  const [elsewhere, ...more] = placesOf(container, { ...KNOWN, named: "back" });
  assert.deepEqual([elsewhere?.network, elsewhere?.reach, more.length], ["back", "stream", 0]);
  const [beside] = placesOf(facts({ ...on("bridge") }), { ...KNOWN, named: "app" });
  assert.deepEqual([beside?.network, beside?.reach, beside?.address], ["app", "stream", "10.160.0.2"]);
});

test("places: without a label and an overlay network it is in the default one, as its host reaches it", () => {
  const [place] = placesOf(facts(), KNOWN);
  assert.deepEqual([place?.network, place?.reach], ["default", "stream"]);
});

test("places: one on another container's network stack is where that one is", () => {
  const owner = facts({ ...on("app"), networkMode: "app" });
  const guest = facts({
    id: idOf("b"),
    networkMode: `container:${idOf("a")}`,
    attachments: [],
    networks: [],
  });
  const [place] = placesOf(guest, { ...KNOWN, host: owner });
  assert.deepEqual([place?.id, place?.network, place?.address], ["bbbbbbbbbbbb", "app", "10.160.0.2"]);
  assert.deepEqual(placesOf(guest, KNOWN), []);
});

test("places: attached to and detached from other networks, the place that it was made with stays the same", () => {
  const others = fc.subarray(["app", "bridge", "call", "plain"]);
  fc.assert(
    fc.property(others, (more) => {
      const container = facts({ ...on("back", ...more), networkMode: "back" });
      const places = placesOf(container, KNOWN);
      assert.deepEqual([places[0]?.id, places[0]?.network], ["aaaaaaaaaaaa", "back"]);
      assert.equal(new Set(places.map(({ id }) => id)).size, places.length);
      for (const { id, network } of places.slice(1)) assert.equal(id, `aaaaaaaaaaaa.${network}`);
    }),
  );
});

test("places: a network on which it has no IPv4 address yet is none", () => {
  const attachments = [{ network: "app", address: "fd12::2" }];
  assert.deepEqual(overlaysOf(facts({ attachments, networks: ["app", "back"] }), OVERLAYS), []);
  assert.deepEqual(overlaysOf(facts({ labels: labels({}) }), OVERLAYS), []);
});
