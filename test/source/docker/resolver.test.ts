// Resolver: whom a container asks, from what an inspection and its resolv.conf say.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { NamePath } from "../../../src/model/endpoint.ts";
import type { ContainerFacts } from "../../../src/source/docker/facts.ts";
import { namePathOf, ownContainerIn } from "../../../src/source/docker/resolver.ts";
import { facts, idOf } from "./fixture.ts";

const GATEWAYS = ["172.18.0.1"];
const HELD = [{ address: "172.17.0.2", sinceMs: 5 }];

/** A container in a network mode, started with these servers. */
function inMode(networkMode: string, servers: readonly string[] = []): ContainerFacts {
  return facts({ networkMode, resolver: { servers, confPath: "", gateways: GATEWAYS } });
}

function pathOf(container: ContainerFacts, conf: string | null = null): NamePath {
  const path = namePathOf(container, container, { conf, isolated: false, held: HELD });
  assert.ok(path !== null);
  return path;
}

const own = (address: string) => ({ address, fromHost: false });

test("resolver: what a container was started with is asked, through Docker's own server on its own networks", () => {
  for (const [mode, embedded] of [
    ["bridge", false],
    ["default", false],
    ["shop_default", true],
  ] as const) {
    const path = pathOf(inMode(mode, ["172.17.0.1"]));
    assert.deepEqual([path.embedded, path.servers, path.stack], [embedded, [own("172.17.0.1")], "own"], mode);
  }
});

test("resolver: where nothing says whom Docker chose, that is unknown", () => {
  assert.equal(pathOf(inMode("bridge")).servers, null);
  assert.equal(pathOf(inMode("shop_default")).servers, null);
  assert.equal(pathOf(inMode("shop_default"), "nameserver 127.0.0.11\noptions ndots:0\n").servers, null);
});

test("resolver: the file tells what daemon.json or the host's own file brought", () => {
  const conf =
    "# made by Docker\nsearch lan\nnameserver 172.17.0.1\n nameserver fd00::53\nnameserver nonsense\n";
  const path = pathOf(inMode("bridge"), conf);
  assert.deepEqual([path.embedded, path.servers], [false, [own("172.17.0.1"), own("fd00::53")]]);
  assert.deepEqual(pathOf(inMode("bridge"), "search lan\n").servers, []);
});

test("resolver: behind Docker's own server stand those of the file's comment, some asked from the host", () => {
  const conf = "nameserver 127.0.0.11\n\n# ExtServers: [172.17.0.1 host(127.0.0.53)]\n# Overrides: []\n";
  const path = pathOf(inMode("shop_default"), conf);
  const behind = [own("172.17.0.1"), { address: "127.0.0.53", fromHost: true }];
  assert.deepEqual([path.embedded, path.servers], [true, behind]);
  const none = "nameserver 127.0.0.11\n# NO EXTERNAL NAMESERVERS DEFINED\n";
  assert.deepEqual(pathOf(inMode("shop_default"), none).servers, []);
  const started = "nameserver 127.0.0.11\noptions ndots:0\n";
  assert.deepEqual(pathOf(inMode("shop_default", ["10.0.0.1"]), started).servers, [own("10.0.0.1")]);
});

test("resolver: a file of one's own in place of Docker's is what counts", () => {
  const path = pathOf(inMode("shop_default", ["10.0.0.1"]), "nameserver 172.18.0.1\n");
  assert.deepEqual([path.embedded, path.servers], [false, [own("172.18.0.1")]]);
});

test("resolver: on the host's network stack the host is who asks, and it has no address of its own", () => {
  const path = pathOf(inMode("host"), "nameserver 127.0.0.1\n");
  assert.deepEqual(path.servers, [{ address: "127.0.0.1", fromHost: true }]);
  assert.deepEqual([path.stack, path.addresses, path.embedded], ["host", [], false]);
  assert.equal(pathOf(inMode("none")).stack, "none");
});

test("resolver: a container on another one's network stack asks as that one does, under its own name", () => {
  const owner = inMode("shop_default", ["172.18.0.1"]);
  const guest = facts({
    id: idOf("b"),
    name: "guest",
    networkMode: `container:${owner.id}`,
    attachments: [],
  });
  const path = namePathOf(guest, owner, { conf: null, isolated: false, held: HELD });
  assert.deepEqual(path, { ...pathOf(owner), name: "guest" });
  assert.deepEqual(path?.addresses, HELD);
});

test("resolver: isolated is who has a network stack of its own, and only networks that lead nowhere", () => {
  const isolated = (mode: string, isIsolated: boolean) =>
    namePathOf(inMode(mode), inMode(mode), { conf: null, isolated: isIsolated, held: HELD })?.isolated;
  assert.deepEqual(
    [isolated("sealed", true), isolated("open", false), isolated("host", true)],
    [true, false, false],
  );
});

test("resolver: of one that was only listed nothing is known", () => {
  const listed = facts({ resolver: null });
  assert.equal(
    namePathOf(listed, listed, { conf: "nameserver 1.1.1.1\n", isolated: false, held: HELD }),
    null,
  );
});

test("resolver: no text of a file makes it throw or name what is no address", () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom("nameserver ", "# ExtServers: [", "host(", ")", "]", "\n"),
  );
  const text = fc.array(line).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, (conf) => {
      for (const { address } of pathOf(inMode("shop_default"), conf).servers ?? []) {
        assert.match(address, /^[\da-fA-F.:%\w]+$/);
      }
    }),
  );
});

test("resolver: the container that a process runs in is told by what the engine mounts into it", () => {
  const id = "ab".repeat(32);
  const line = `812 790 8:1 /var/lib/docker/containers/${id}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n`;
  assert.equal(ownContainerIn(`25 1 0:22 / /proc rw - proc proc rw\n${line}`), id);
  assert.equal(ownContainerIn("25 1 0:22 / /proc rw - proc proc rw\n"), null);
  assert.equal(ownContainerIn(""), null);
});
