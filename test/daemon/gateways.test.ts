// DNS on the gateways of bridges: at port 53 where that is free, elsewhere where it is not, and nowhere for long ago.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { Gateways } from "../../src/daemon/gateways.ts";
import type { ProblemLine } from "../../src/admin/contract.ts";
import { openSilentLog } from "../support/silence.ts";

const FREE = "172.17.0.1";
const TAKEN = "10.160.3.1";

interface Opened {
  readonly gateways: Gateways;
  readonly listening: Set<string>;
  /** Places that others have. */
  readonly taken: Set<string>;
  /** Addresses that cannot be listened at yet. */
  readonly absent: Set<string>;
  readonly report: { unservedGateways: readonly ProblemLine[] };
  readonly changes: () => number;
  readonly begin: () => void;
}

function open(t: TestContext, configured: readonly HostPort[] = []): Opened {
  const listening = new Set(configured.map(renderHostPort));
  const absent = new Set<string>();
  const taken = new Set([`${TAKEN}:53`]);
  const report: Opened["report"] = { unservedGateways: [] };
  const serving = Promise.withResolvers<void>();
  let changes = 0;
  const gateways = new Gateways({
    dns: {
      listenOn: async (address) => {
        const place = { ...address, port: address.port === 0 ? 40_000 : address.port };
        if (absent.has(place.host)) throw new Failure("unreachable", `${place.host} is not here`);
        if (taken.has(renderHostPort(place))) throw new Failure("busy", `${renderHostPort(place)} is taken`);
        listening.add(renderHostPort(place));
        return place;
      },
      stopListening: async (address) => void listening.delete(renderHostPort(address)),
    },
    configured,
    report,
    log: openSilentLog(),
    serving: serving.promise,
    onChanged: () => {
      changes += 1;
    },
  });
  t.after(() => gateways.close());
  return {
    gateways,
    listening,
    absent,
    taken,
    report,
    changes: () => changes,
    begin: () => serving.resolve(),
  };
}

test("gateways: DNS is answered at port 53 of each, from when all is served", async (t) => {
  const { gateways, listening, begin, changes } = open(t);
  gateways.set({ all: [FREE], led: new Set() });
  assert.equal(listening.size, 0);
  begin();
  await gateways.idle();
  assert.deepEqual([...listening], [`${FREE}:53`]);
  assert.deepEqual(gateways.placeOf(FREE), { host: FREE, port: 53 });
  assert.equal(gateways.placeOf(TAKEN), null);
  assert.equal(changes(), 1);
});

test("gateways: where port 53 is taken it is answered at another, told where nobody is led there", async (t) => {
  const { gateways, taken, report, begin } = open(t);
  begin();
  gateways.set({ all: [TAKEN], led: new Set() });
  await gateways.idle();
  assert.deepEqual(gateways.placeOf(TAKEN), { host: TAKEN, port: 5300 });
  assert.deepEqual(
    report.unservedGateways.map(({ subject }) => subject),
    [`${TAKEN}:53`],
  );
  gateways.set({ all: [TAKEN], led: new Set([TAKEN]) });
  await gateways.idle();
  assert.deepEqual(report.unservedGateways, []);
  taken.add(`${FREE}:53`).add(`${FREE}:5300`);
  gateways.set({ all: [TAKEN, FREE], led: new Set() });
  await gateways.idle();
  assert.deepEqual(gateways.placeOf(FREE), { host: FREE, port: 40_000 });
});

test("gateways: port 53 that becomes free is taken, and the other one given up", async (t) => {
  const { gateways, listening, taken, begin } = open(t);
  begin();
  gateways.set({ all: [TAKEN], led: new Set() });
  await gateways.idle();
  taken.clear();
  gateways.set({ all: [TAKEN], led: new Set() });
  await gateways.idle();
  assert.deepEqual([...listening], [`${TAKEN}:53`]);
});

test("gateways: a bridge that is gone is answered no more, unless the configuration says so", async (t) => {
  const { gateways, listening, begin } = open(t, [{ host: FREE, port: 53 }]);
  begin();
  gateways.set({ all: [FREE, "172.18.0.1"], led: new Set() });
  await gateways.idle();
  gateways.set({ all: [], led: new Set() });
  await gateways.idle();
  assert.deepEqual([...listening], [`${FREE}:53`]);
  assert.equal(gateways.placeOf("172.18.0.1"), null);
});

test("gateways: an IPv6 address that is not ready yet is tried again soon, and not told", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { gateways, absent, report, begin } = open(t);
  begin();
  absent.add("fd12::1");
  gateways.set({ all: ["fd12::1"], led: new Set() });
  await gateways.idle();
  assert.deepEqual([gateways.placeOf("fd12::1"), report.unservedGateways], [null, []]);
  absent.clear();
  t.mock.timers.tick(1000);
  await gateways.idle();
  assert.deepEqual(gateways.placeOf("fd12::1"), { host: "fd12::1", port: 53 });
});
