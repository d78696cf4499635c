// Archives as the program tar makes them, and everything else that may come in their place.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as fc from "fast-check";

import { fileIn } from "../../../src/source/docker/archive.ts";
import { folderFor } from "../../support/daemons.ts";

const TEXT = "nameserver 127.0.0.11\n# ExtServers: [192.0.2.1]\n";

test("archive: the file that tar packed is read, in each of its formats", (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "resolv.conf"), TEXT);
  for (const format of ["ustar", "gnu", "pax"]) {
    // A name that is too long for a header makes gnu and pax write one before it.
    const long = `--transform=s,^,${"x".repeat(120)},`;
    const args = ["-c", "-f", "-", `--format=${format}`, "-C", folder];
    assert.equal(fileIn(execFileSync("tar", [...args, "resolv.conf"]).toString("latin1")), TEXT, format);
    if (format === "ustar") continue;
    assert.equal(
      fileIn(execFileSync("tar", [...args, long, "resolv.conf"]).toString("latin1")),
      TEXT,
      format,
    );
  }
});

test("archive: a link or a folder is no file, and one that is cut off is none", (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "resolv.conf"), TEXT);
  symlinkSync("resolv.conf", join(folder, "link"));
  mkdirSync(join(folder, "folder"));
  const tar = (name: string): string =>
    execFileSync("tar", ["-c", "-f", "-", "-C", folder, name]).toString("latin1");
  assert.deepEqual([fileIn(tar("link")), fileIn(tar("folder"))], [null, null]);
  assert.equal(fileIn(tar("resolv.conf").slice(0, 520)), null);
});

test("archive: any bytes at all are read to an end", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 3000 }), (bytes) => {
      const file = fileIn(bytes);
      assert.ok(file === null || bytes.includes(file));
    }),
  );
});
