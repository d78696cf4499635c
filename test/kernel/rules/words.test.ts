// Words: only their own forms are written.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  addressWord,
  chainWord,
  counterWord,
  deviceWord,
  macWord,
  markWord,
  networkWord,
  portWord,
  prefixWord,
  protocolWord,
  socketWord,
  vniWord,
} from "../../../src/kernel/rules/words.ts";

const WRITERS: Readonly<Record<string, (text: string) => string>> = {
  address: (text) => addressWord("ip", text),
  address6: (text) => addressWord("ip6", text),
  prefix: (text) => prefixWord("ip", text),
  prefix6: (text) => prefixWord("ip6", text),
  device: deviceWord,
  mac: macWord,
  network: networkWord,
  chain: (text) => chainWord("all", text, "80-tcp"),
  socket: (text) => socketWord("ip", text),
};

/** What a word may be made of, besides the quotes round a device. */
const HARMLESS = /^"?[a-zA-Z0-9_.:/ -]+"?$/;

test("words: whatever the text, what is written is one harmless word or nothing", () => {
  const texts = fc.oneof(
    fc.string(),
    fc.constantFrom("10.0.0.1; flush ruleset", 'a"b', "a\nb", "web }", "fe80::1%eth0", "{ 1 }", "$x", "@set"),
  );
  fc.assert(
    fc.property(texts, fc.constantFrom(...Object.values(WRITERS)), (text, write) => {
      let word = "a";
      try {
        word = write(text);
      } catch {
        return;
      }
      assert.match(word, HARMLESS);
      assert.ok(!word.includes("\n"));
    }),
  );
});

test("words: numbers out of range are refused", () => {
  for (const port of [0, -1, 65_536, 1.5, Number.NaN])
    assert.throws(() => portWord(port), /expected 1..65535/);
  for (const mark of [-1, 2 ** 32, 0.5]) assert.throws(() => markWord(mark), /expected a number of 32 bits/);
  for (const vni of [0, 2 ** 24]) assert.throws(() => vniWord(vni), /expected 1..16777215/);
});

test("words: addresses, prefixes and marks are written as nft lists them", () => {
  assert.equal(addressWord("ip6", "FD12:0:0::5"), "fd12::5");
  assert.equal(prefixWord("ip6", "fd12:0::/64"), "fd12::/64");
  assert.equal(markWord(0x5300_0001), "0x53000001");
  assert.equal(vniWord(4256), "0x10a0");
  assert.equal(socketWord("ip", "10.160.3.1:53"), "10.160.3.1 . 53");
  assert.equal(socketWord("ip6", "[fd12::1]:5300"), "fd12::1 . 5300");
  assert.equal(deviceWord("sk-app"), '"sk-app"');
});

test("words: a failure names the thing, what it is and what was expected", () => {
  assert.throws(
    () => addressWord("ip", "fd12::1"),
    /^Failure: address is "fd12::1"; expected an IPv4 address$/,
  );
  assert.throws(() => deviceWord("a-name-of-sixteen"), /device is "a-name-of-sixteen"; expected letters/);
});

test("chainWord: a name too long for the kernel is a hash, and unlike another's", () => {
  const long = (name: string): string => `${"n".repeat(63)}/${name.repeat(63)}`;
  const one = chainWord("all", long("a"), "80-tcp");
  assert.ok(one.length <= 120);
  assert.notEqual(one, chainWord("all", long("b"), "80-tcp"));
  assert.equal(chainWord("all", "app/web", "80-tcp"), "all-app/web/80-tcp");
});

test("counterWord: readable where that fits, else a hash, and nobody else's", () => {
  const long = (name: string): string => `${"n".repeat(63)}/${name.repeat(63)}`;
  assert.equal(counterWord("app/web"), "led-app/web");
  assert.ok(counterWord(long("a")).length <= 120);
  assert.notEqual(counterWord(long("a")), counterWord(long("b")));
  assert.throws(() => counterWord("app/we b"), /service is "app\/we b"; expected/);
});

test("words: transports by the numbers that IP has for them", () => {
  assert.deepEqual([protocolWord("tcp"), protocolWord("udp")], ["6", "17"]);
});
