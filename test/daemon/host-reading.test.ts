// What the kernel's own texts say of a host.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { engineOptionsIn, moduleFinding, numberIn, versionIn } from "../../src/daemon/host-reading.ts";

test("host reading: versions are found in what programs say", () => {
  const cases = [
    ["nftables v1.0.6 (Lester Gooch #5)", "1.0.6"],
    ["ip utility, iproute2-6.1.0, libbpf 1.1.0", "6.1.0"],
    ["ping from iputils 20221126", "20221126"],
    ["wireguard-tools v1.0.20210914 - https://git.zx2c4.com/", "1.0.20210914"],
    ["no number here", null],
  ] as const;
  for (const [said, version] of cases) assert.equal(versionIn(said), version, said);
});

test("host reading: a module is there, can be loaded, is missing, or nobody knows", () => {
  const lists =
    "kernel/net/netfilter/nf_conntrack.ko.xz: kernel/lib/crc.ko\nkernel/drivers/net/wireguard/wireguard.ko:\n";
  assert.equal(moduleFinding("vxlan", true, null), "loaded");
  assert.equal(moduleFinding("vxlan", false, null), "unknown");
  assert.equal(moduleFinding("wireguard", false, lists), "loadable");
  assert.equal(moduleFinding("nf_conntrack", false, lists), "loadable");
  assert.equal(moduleFinding("vxlan", false, lists), "missing");
  assert.equal(moduleFinding("guard", false, lists), "missing", "the end of a name is no name");
  assert.equal(moduleFinding("wireguard", false, "kernel/drivers/net/wireguard/wireguard.ko\n"), "loadable");
});

test("host reading: only whole numbers are numbers", () => {
  assert.deepEqual([numberIn("42\n"), numberIn("-1"), numberIn(""), numberIn(null)], [42, null, null, null]);
});

test("host reading: options of daemon.json that are no flags are not told, and no text is an error", () => {
  assert.deepEqual(engineOptionsIn('{"iptables": false, "userland-proxy": "no"}'), {
    iptables: false,
    userlandProxy: null,
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const options = engineOptionsIn(text);
      assert.ok(
        options === null ||
          Object.values(options).every((flag) => flag === null || typeof flag === "boolean"),
      );
    }),
  );
});
