// Signals: names and numbers of stop signals.

import assert from "node:assert/strict";
import { constants } from "node:os";
import { test } from "node:test";

import { signalNumber, SIGKILL, SIGTERM } from "../../../src/source/docker/signals.ts";

test(
  "signals: every name has the number it has on Linux",
  { skip: process.platform !== "linux" && "not Linux" },
  () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      if (["SIGIOT", "SIGPOLL", "SIGUNUSED"].includes(name)) continue;
      assert.equal(signalNumber(name), number, name);
    }
  },
);

test("signals: a name may come without SIG, in any case, or as a number", () => {
  assert.equal(signalNumber("SIGTERM"), SIGTERM);
  assert.equal(signalNumber("kill"), SIGKILL);
  assert.equal(signalNumber("15"), 15);
  assert.equal(signalNumber("SIGRTMIN+3"), 37);
  assert.equal(signalNumber("RTMAX-1"), 63);
});

test("signals: what is no signal is none", () => {
  for (const text of ["", "SIG", "0", "65", "SIGNOPE", "RTMIN-1", "toString", "1e1"]) {
    assert.equal(signalNumber(text), null, text);
  }
});
