// Tracing's keys: where spans go, which are recorded, and headers that are told to nobody else.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { textOf } from "../../src/base/failure.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { parseHeaders } from "../../src/config/tracing.ts";

function loaded(env: Readonly<Record<string, string>>): Config["tracing"] {
  const surroundings = { env: { HOME: "/nowhere", ...env }, isRoot: false };
  return loadConfig({ surroundings, file: null, flags: {} }).config.tracing;
}

function refusal(env: Readonly<Record<string, string>>): string {
  try {
    loaded(env);
    return "";
  } catch (thrown) {
    return textOf(thrown);
  }
}

test("tracing: without an endpoint nothing is sent, and a caller's word decides", () => {
  assert.deepEqual(loaded({}), { endpoint: "", sample: "parent", headers: "", headersFile: "" });
});

test("tracing: an endpoint without a path gets the one of OTLP, any other is kept", () => {
  const endpoint = (text: string): string => loaded({ SKEIN_TRACING_ENDPOINT: text }).endpoint;
  assert.equal(endpoint("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
  assert.equal(endpoint("https://otel.example.com/in/v1/traces"), "https://otel.example.com/in/v1/traces");
});

test("tracing: an endpoint that is none, or holds a secret, is refused with what was expected", () => {
  for (const text of ["4318", "grpc://a:4317", "http://u:p@a", "http://a/?key=1", "http://a/#x", "http://"]) {
    const told = refusal({ SKEIN_TRACING_ENDPOINT: text });
    assert.match(
      told,
      /SKEIN_TRACING_ENDPOINT: "tracing\.endpoint" is .*; expected an http:\/\/ or https:\/\/ URL/,
      text,
    );
  }
});

test("tracing: a share is taken from a file and from a variable, and nothing that is none", () => {
  const sample = (text: string): number | string => loaded({ SKEIN_TRACING_SAMPLE: text }).sample;
  assert.deepEqual(["parent", "0", "0.25", "1"].map(sample), ["parent", 0, 0.25, 1]);
  for (const text of ["1.5", "-1", "half", "NaN", "10%"])
    assert.match(refusal({ SKEIN_TRACING_SAMPLE: text }), /expected parent, or a share in 0\.\.1/, text);
});

test("tracing: headers are read as they were written", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const value = fc.stringMatching(/^[\x21-\x7e]{0,40}$/);
  fc.assert(
    fc.property(fc.dictionary(name, value, { minKeys: 1, maxKeys: 5 }), (headers) => {
      const list = Object.entries(headers).map(([key, text]) => `${key}=${encodeURIComponent(text)}`);
      assert.deepEqual({ ...parseHeaders(list.join(", ")) }, { ...headers });
    }),
  );
  for (const bad of ["", "x", "=a", "a b=c", "a=%zz", "a=%0d%0ab: c", "a=1,", "a=%00"])
    assert.equal(parseHeaders(bad), null, bad);
});

test("tracing: headers of no good form are never told, whatever they are", () => {
  const strange = fc.string({ unit: "grapheme-ascii", minLength: 8 }).filter((text) => {
    return text.trim() !== "" && parseHeaders(text.trim()) === null;
  });
  fc.assert(
    fc.property(strange, (text) => {
      const told = refusal({ SKEIN_TRACING_HEADERS: text });
      assert.match(told, /is not told, being a secret; expected headers such as name=value/);
      assert.ok(!told.includes(text));
    }),
  );
});
