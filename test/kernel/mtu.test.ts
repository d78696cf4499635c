// The largest packet that gets through: found wherever it lies, with lost packets and silent peers, and with real ones.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../src/base/failure.ts";
import { probeMtus, type SendEcho } from "../../src/kernel/mtu.ts";
import { runApart, whyNotApart } from "../support/apart.ts";

const DEADLINE = { deadlineMs: 20_000 };

/** A way that takes packets of up to `mtu` bytes, and tells its limit or swallows them. */
function way(mtu: number, tells: boolean): SendEcho & { count: number } {
  const send = async (_: string, sizeBytes: number): Promise<{ answered: boolean; limit: number | null }> => {
    send.count += 1;
    const answered = sizeBytes <= mtu;
    return { answered, limit: tells && !answered ? mtu : null };
  };
  send.count = 0;
  return send;
}

const to = (expected: number) => [{ address: "192.0.2.2", expected }];

test("mtu: found to the byte, wherever it lies, in a few rounds of a few packets", async () => {
  const sizes = fc.tuple(
    fc.integer({ min: 577, max: 9216 }),
    fc.integer({ min: 576, max: 9216 }),
    fc.boolean(),
  );
  await fc.assert(
    fc.asyncProperty(sizes, async ([expected, mtu, tells]) => {
      const send = way(mtu, tells);
      const [found] = await probeMtus(to(expected), { ...DEADLINE, send });
      assert.deepEqual(found, mtu >= expected ? { kind: "whole" } : { kind: "smaller", mtu });
      assert.ok(send.count <= (mtu >= expected ? 1 : tells ? 5 : 43), `${send.count} packets`);
    }),
  );
});

test("mtu: a packet that is lost once is not a limit", async () => {
  let lost = 0;
  const send: SendEcho = async (_, sizeBytes, times) => {
    lost += 1;
    return { answered: sizeBytes <= 1500 && (lost > 1 || times > 1), limit: null };
  };
  assert.deepEqual(await probeMtus(to(1500), { ...DEADLINE, send }), [{ kind: "whole" }]);
});

test("mtu: who answers nothing is silent, and who cannot be tried says why", async () => {
  const silent: SendEcho = async () => ({ answered: false, limit: null });
  assert.deepEqual(await probeMtus(to(1500), { ...DEADLINE, send: silent }), [{ kind: "silent" }]);
  const without: SendEcho = async () => {
    throw new Failure("not-found", 'program "ping" is not installed, or not on the PATH');
  };
  const reason = 'program "ping" is not installed, or not on the PATH';
  assert.deepEqual(await probeMtus(to(1500), { ...DEADLINE, send: without }), [{ kind: "unknown", reason }]);
});

test("mtu: past the deadline the rest is unknown, and each peer has a finding", async () => {
  const targets = Array.from({ length: 40 }, (_, at) => ({ address: `192.0.2.${at}`, expected: 1500 }));
  const found = await probeMtus(targets, { deadlineMs: -1, send: way(1500, true) });
  assert.deepEqual(
    found.map(({ kind }) => kind),
    targets.map(() => "unknown"),
  );
  const all = await probeMtus(targets, { ...DEADLINE, send: way(1500, true) });
  assert.deepEqual(
    all,
    targets.map(() => ({ kind: "whole" })),
  );
});

test(
  "mtu: real packets, to a host behind a router that says its limit and one that does not",
  {
    skip: await whyNotApart(["ping"]),
  },
  async () => {
    await runApart(join(import.meta.dirname, "mtu-ways.ts"));
  },
);
