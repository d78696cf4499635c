// The numbers of `skein top`: short, and never wrong by more than they show.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { TrafficReport } from "../../src/admin/contract-live.ts";
import { NO_RATES } from "../../src/admin/rates.ts";
import { topRows, topTable } from "../../src/cli/top-text.ts";
import { QUIET } from "../admin/quiet.ts";

const STYLE = { wide: false, columnsMax: 80, shortensIds: true, colors: false, nowMs: 0 };
const CHOICE = { replicas: false, sort: "traffic" } as const;
const IDLE: TrafficReport = { ...QUIET, atMs: 0 };

const rate = fc.oneof(
  fc.double({ min: 0, max: 20, noNaN: true }),
  fc.double({ min: 0, max: 1e13, noNaN: true }),
);
const report = fc
  .record({ requests: rate, bytes: rate, ms: rate, name: fc.string({ maxLength: 60 }) })
  .map(({ requests, bytes, ms, name }): TrafficReport => {
    const rates = {
      ...NO_RATES,
      requests,
      connections: requests,
      sentBytes: bytes,
      receivedBytes: bytes,
      open: 3,
    };
    const latencyMs = { p50: ms, p95: ms, p99: ms };
    return {
      ...IDLE,
      total: rates,
      services: [{ key: `x/${name}`, rates, latencyMs, ejected: 0 }],
      latencyMs,
    };
  });

test("topTable: every line fits into 80 columns, whatever passes", () => {
  const upToDays = report.filter(({ latencyMs }) => (latencyMs?.p99 ?? 0) < 99_000);
  fc.assert(
    fc.property(upToDays, (told) => {
      for (const line of topTable(told, CHOICE, STYLE).split("\n")) assert.ok(line.length <= 80, line);
    }),
  );
});

test("topRows: a number is shown to two digits at least, and no row is broken", () => {
  fc.assert(
    fc.property(report, (told) => {
      const rows = topRows(told, CHOICE).trimEnd().split("\n");
      assert.equal(rows.length, 2);
      const [, , shown = ""] = (rows[0] ?? "").split(/\s+/);
      const [, number = "", unit = ""] = /^([\d.]+)([kMGTP]?)$/.exec(shown) ?? [];
      const value = Number(number) * 1000 ** ["", "k", "M", "G", "T", "P"].indexOf(unit);
      const { requests } = told.total;
      assert.ok(Math.abs(value - requests) <= Math.max(0.1, 0.051 * requests), `${shown} for ${requests}`);
    }),
  );
});

test("topTable: where nothing passes it says so", () => {
  assert.match(
    topTable(IDLE, CHOICE, STYLE),
    /^traffic +this host \(host-1\) {2}0 req\/s[^]*no service has traffic\n$/,
  );
});
