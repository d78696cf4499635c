// Listing: the three layouts that people have, and everything that is not one of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { pairFiles, type ListedEntry } from "../../../src/proxy/tls/listing.ts";

function entries(
  ...names: readonly (string | readonly [string, readonly string[]])[]
): readonly ListedEntry[] {
  return names.map((one) =>
    typeof one === "string" ? { name: one, holds: null } : { name: one[0], holds: one[1] },
  );
}

test("listing: a certificate beside its key, both in one file, and certbot's folders are found by name", () => {
  const listed = entries("web.crt", "web.key", "shop.pem", [
    "example.com",
    ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "README"],
  ]);
  assert.deepEqual(pairFiles(listed), [
    { name: "example.com", certificate: "example.com/fullchain.pem", key: "example.com/privkey.pem" },
    { name: "shop.pem", certificate: "shop.pem", key: "shop.pem" },
    { name: "web.crt", certificate: "web.crt", key: "web.key" },
  ]);
});

test("listing: a .pem with a .key beside it takes its key from there", () => {
  assert.deepEqual(pairFiles(entries("web.pem", "web.key")), [
    { name: "web.pem", certificate: "web.pem", key: "web.key" },
  ]);
});

test("listing: a certificate without a key is listed, so that reading it can tell what is missing", () => {
  assert.deepEqual(pairFiles(entries("web.crt")), [
    { name: "web.crt", certificate: "web.crt", key: "web.key" },
  ]);
  assert.equal(pairFiles(entries(["web", ["fullchain.pem"]])).length, 1);
});

test("listing: keys alone, hidden files, other folders and other files are nobody's certificate", () => {
  const others = entries(
    "web.key",
    ".web.crt",
    "web.crt~",
    "web.crt.new",
    "README",
    ["..data", ["fullchain.pem"]],
    ["archive", ["fullchain1.pem", "privkey1.pem"]],
  );
  assert.deepEqual(pairFiles(others), []);
});
