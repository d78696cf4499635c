// Listing: what nft prints is read back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parseCounters, parseListing } from "../../../src/kernel/rules/listing.ts";

/** With tabs, as nft writes it. */
const TEXT = `table inet skein {
  map vips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 10.96.0.5 . 6 . 80 : jump all-app/web/80-tcp,
      10.96.0.6 . 17 . 53 : jump all-app/dns/53-udp }
  }

  set within {
    type ifname . ifname
    size 4096
    flags dynamic
    elements = { "sk-app" . "sk-app", "sk-app" . "sk-vx77" }
  }

  map askers {
    type ipv4_addr : ipv4_addr . inet_service
  }

  chain layout-12345678 {
  }

  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname . oifname @within goto ours comment "11111111"
    iifname "sk-*" counter packets 7 bytes 420 drop comment "22222222"
    accept
  }
}
`.replaceAll(/^ +/gm, (spaces) => "\t".repeat(spaces.length / 2));

test("parseListing: chains are the digests of their rules; one that is not ours has none", () => {
  const { chains } = parseListing(TEXT);
  assert.deepEqual(
    [...chains],
    [
      ["layout-12345678", []],
      ["forward", ["11111111", "22222222", ""]],
    ],
  );
});

test("parseListing: elements are read over line ends, with what they stand for", () => {
  const { sets } = parseListing(TEXT);
  assert.deepEqual(
    [...(sets.get("vips") ?? [])],
    [
      ["10.96.0.5 . 6 . 80", "jump all-app/web/80-tcp"],
      ["10.96.0.6 . 17 . 53", "jump all-app/dns/53-udp"],
    ],
  );
  assert.deepEqual([...(sets.get("within")?.keys() ?? [])], ['"sk-app" . "sk-app"', '"sk-app" . "sk-vx77"']);
  assert.equal(sets.get("askers")?.size, 0);
});

const COUNTERS = `table inet skein {
  counter led-default/web {
    packets 12 bytes 720
  }

  counter led-app/0123456789abcdef01234567 {
    packets 0 bytes 0
  }
}
`.replaceAll(/^ +/gm, (spaces) => "\t".repeat(spaces.length / 2));

test("parseListing: counters are known by their names", () => {
  assert.deepEqual(
    [...parseListing(COUNTERS).counters],
    ["led-default/web", "led-app/0123456789abcdef01234567"],
  );
  assert.equal(parseListing(TEXT).counters.size, 0);
});

test("parseCounters: packets by name; a text that was cut off, or is none, is no error", () => {
  assert.deepEqual(
    [...parseCounters(COUNTERS)],
    [
      ["led-default/web", 12],
      ["led-app/0123456789abcdef01234567", 0],
    ],
  );
  assert.deepEqual(
    [...parseCounters(COUNTERS.slice(0, COUNTERS.indexOf("packets 0")))],
    [["led-default/web", 12]],
  );
  assert.equal(parseCounters("").size, 0);
});

test("parseListing: a text that was cut off, or is none, is no error", () => {
  assert.equal(parseListing("").chains.size, 0);
  assert.deepEqual(
    parseListing(TEXT.slice(0, TEXT.indexOf("22222222"))).chains.get("forward")?.[0],
    "11111111",
  );
});
