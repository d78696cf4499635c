// The writer: the same bytes as dns2's own, and what it can do besides.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Packet } from "dns2";
import * as fc from "fast-check";

import { MessageWriter } from "../../src/dns/writer.ts";

test("writer: the bytes are those of dns2's writer, whatever widths follow each other", () => {
  const fields = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: 1, max: 32 })),
    {
      maxLength: 800,
    },
  );
  fc.assert(
    fc.property(fields, (list) => {
      const [own, other] = [new MessageWriter(), new Packet.Writer()];
      for (const writer of [own, other]) {
        for (const [value, bits] of list) writer.write(value, bits);
        writer.write(0, 8 - (writer.bitLength() % 8));
      }
      assert.deepEqual(own.render(), other.toBuffer());
      assert.equal(own.byteLength(), other.byteLength());
    }),
  );
});

test("writer: what was written is repeated, written over and taken back", () => {
  const writer = new MessageWriter();
  writer.append(Buffer.from("head"));
  writer.append(Buffer.from("name 1"));
  for (let at = 2; at < 500; at += 1) {
    writer.repeat(writer.byteLength() - 6);
    writer.patch(writer.bitLength() - 8, 48 + (at % 10), 8);
  }
  const rows = Array.from({ length: 499 }, (_, at) => `name ${(at + 1) % 10}`);
  assert.equal(writer.render().toString(), `head${rows.join("")}`);
  writer.truncate(10);
  writer.patch(0, 0x4845, 16);
  writer.mark({ atBytes: 4, mask: 0x10 });
  assert.equal(writer.render().toString(), "HEad~ame 1");
});

test("writer: names point to the question and to nothing else", () => {
  const writer = new MessageWriter();
  writer.names.add("internal", 3);
  Packet.Name.encode("web.internal", writer);
  Packet.Name.encode("web.other", writer);
  Packet.Name.encode("web.other", writer);
  const other = "\x03web\x05other\0";
  assert.deepEqual(writer.render(), Buffer.from(`\x03web\xc0\x03${other}${other}`, "latin1"));
});
