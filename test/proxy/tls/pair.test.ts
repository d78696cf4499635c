// Pair: what is served, what is refused and why, what is served but complained about.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";

import { complaintOf, readPair, type Pair } from "../../../src/proxy/tls/pair.ts";
import { makePair } from "../../support/certificate.ts";

const DAY_MS = 86_400_000;

function pairOf(options: Parameters<typeof makePair>[0]): Pair {
  const read = readPair(makePair(options));
  assert.ok(read.ok, read.ok ? "" : read.failure.message);
  return read.value;
}

function refusal(texts: { readonly certificate: string; readonly key: string }): string {
  const read = readPair(texts);
  assert.ok(!read.ok);
  assert.equal(read.failure.code, "invalid");
  return read.failure.message;
}

test("pair: its hosts and addresses are those that the certificate names", () => {
  const names = ["Web.example.com", "*.Example.com", "web.example.com", "b*.example.com", "*"];
  const { hosts, addresses } = pairOf({ hosts: names, addresses: ["10.0.0.1"] });
  assert.deepEqual(hosts, ["web.example.com", "*.example.com"]);
  assert.deepEqual(addresses, ["10.0.0.1"]);
});

test("pair: a name made to look like several is none", () => {
  assert.deepEqual(pairOf({ hosts: ["a.example, DNS:bank.example", "b.example"] }).hosts, ["b.example"]);
});

test("pair: both may be in one text, in any order, with those above the certificate behind it", () => {
  const [own, above] = [makePair({ hosts: ["a.example"] }), makePair()];
  const text = `${own.key}some words\n${own.certificate}${above.certificate}`;
  const read = readPair({ certificate: text, key: text });
  assert.ok(read.ok);
  assert.equal(read.value.chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
  assert.doesNotMatch(read.value.chain, /PRIVATE/);
});

test("pair: without a certificate, without its key, or with a key behind a passphrase it is refused in words", () => {
  const own = makePair({ hosts: ["a.example"] });
  const other = makePair();
  assert.match(refusal({ certificate: "", key: own.key }), /no certificate/);
  assert.match(refusal({ certificate: own.certificate.slice(0, 200), key: own.key }), /no certificate/);
  assert.match(
    refusal({ certificate: own.certificate.replace(/MII/, "AII"), key: own.key }),
    /cannot be read/,
  );
  assert.match(refusal({ certificate: own.certificate, key: "" }), /no private key/);
  assert.match(refusal({ certificate: own.certificate, key: own.key.slice(0, 100) }), /no private key/);
  assert.match(refusal({ certificate: own.certificate, key: own.key + other.key }), /2 private keys/);
  assert.match(
    refusal({ certificate: own.certificate, key: other.key }),
    /not that of the first certificate/,
  );
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "prime256v1",
    privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  assert.match(refusal({ certificate: own.certificate, key: privateKey }), /passphrase/);
  assert.match(refusal({ certificate: own.certificate.repeat(11), key: own.key }), /11 certificates/);
});

test("pair: no refusal holds a part of a key", () => {
  const own = makePair();
  const broken = own.key.replace(/\n(.{10})/, "\n!!$1");
  for (const key of [broken, makePair().key, own.key.slice(0, 150)]) {
    const text = refusal({ certificate: own.certificate, key });
    for (const line of key.split("\n").slice(1)) assert.ok(line.length < 8 || !text.includes(line));
  }
});

test("pair: one that has expired, is not valid yet, soon expires or names nobody is complained about", () => {
  const fromMs = Date.UTC(2026, 0, 1);
  const pair = pairOf({ hosts: ["a.example"], fromMs, untilMs: fromMs + 90 * DAY_MS });
  assert.match(complaintOf(pair, fromMs - 1) ?? "", /^is not valid before 2026-01-01 00:00 UTC/);
  assert.equal(complaintOf(pair, fromMs), null);
  assert.equal(complaintOf(pair, fromMs + 75 * DAY_MS), null);
  assert.match(complaintOf(pair, fromMs + 75 * DAY_MS + 1) ?? "", /^expires on 2026-04-01 00:00 UTC/);
  assert.match(complaintOf(pair, fromMs + 90 * DAY_MS) ?? "", /^expired on 2026-04-01 00:00 UTC/);
  assert.match(complaintOf(pairOf({ fromMs }), fromMs) ?? "", /names no host/);
});
