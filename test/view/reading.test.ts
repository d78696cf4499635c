// What is new in a log is found without reading again what is not.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Entry, OwnerLog } from "../../src/model/log.ts";
import { parseRecord, recordKey, renderRecord, type NodeLogRecord } from "../../src/model/record.ts";
import { newOwner, placedAt, type Owner } from "../../src/view/owner.ts";
import { readLog, type Reading } from "../../src/view/reading.ts";
import { replicaOf } from "../../src/view/replica.ts";

import { claim, logOf, member, replica } from "./cluster.ts";

interface LiveLog extends OwnerLog {
  version: number;
  readonly entryByKey: Map<string, Entry>;
}

const slice = (index: number): NodeLogRecord => {
  return { kind: "subnet", network: "blue", index, order: 1, settled: true };
};

function logWith(...records: readonly NodeLogRecord[]): LiveLog {
  const log = logOf("b", records);
  return { ...log, entryByKey: new Map(log.entryByKey) };
}

function put(log: LiveLog, key: string, body: string | null): void {
  log.version += 1;
  log.entryByKey.delete(key);
  log.entryByKey.set(key, { version: log.version, body });
}

const write = (log: LiveLog, record: NodeLogRecord): void =>
  put(log, recordKey(record), renderRecord(record));

/** Reads a log, and takes what was found as the merger does. */
class Reader {
  readonly owner: Owner;
  parsed: string[] = [];

  constructor() {
    this.owner = newOwner(member("b"), { version: 1, body: "{}" });
  }

  read(log: OwnerLog): Reading {
    this.parsed = [];
    const reading = readLog(this.owner, log, (key, body) => {
      this.parsed.push(key);
      return parseRecord(key, body);
    });
    const { owner } = this;
    const gone = new Set([...reading.gone, ...reading.again.map(({ placed }) => placed)]);
    const found = [...reading.come, ...reading.again].map(({ entry, record }) => {
      const { reason, stack, declaration, startedAtMs, ...copy } = record;
      const circumstances = { reason, owner: owner.member, observer: "a", last: null, nowMs: 0 };
      const shown = replicaOf({ ...copy, ports: declaration.ports }, circumstances);
      return placedAt(owner, "default/web", {
        entry,
        reason,
        stack,
        declaration,
        startedAtMs,
        replica: shown,
      });
    });
    owner.placed = [...owner.placed.filter((one) => !gone.has(one)), ...found].sort((one, other) => {
      return one.replica.id < other.replica.id ? -1 : 1;
    });
    owner.claims = [
      ...owner.claims.filter((one) => !reading.claims.gone.includes(one)),
      ...reading.claims.come,
    ];
    owner.slices = [
      ...owner.slices.filter((one) => !reading.slices.gone.includes(one)),
      ...reading.slices.come,
    ];
    owner.malformedKeys = reading.malformedKeys;
    owner.log = log;
    owner.version = log.version;
    return reading;
  }
}

/** What a reading found, in short. */
function told(reading: Reading): Record<string, readonly string[]> {
  const lists = {
    come: reading.come.map(({ record }) => record.id),
    again: reading.again.map(({ record }) => record.id),
    gone: reading.gone.map(({ replica }) => replica.id),
    claimed: reading.claims.come.map(({ key }) => key),
    unclaimed: reading.claims.gone.map(({ key }) => key),
    slices: reading.slices.come.map(({ index }) => `+${index}`),
    lost: reading.slices.gone.map(({ index }) => `-${index}`),
    malformed: [...reading.malformedKeys],
  };
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

test("reading: a first reading finds all there is, the node's own record left out", () => {
  const log = logWith(replica("r1"), claim("web", "10.96.5.5"), slice(1));
  put(log, "replica/bad", "{");
  put(log, "replica/gone", null);
  put(log, "tomorrow/x", "whatever");
  assert.deepEqual(told(new Reader().read(log)), {
    come: ["r1"],
    claimed: ["default/web"],
    slices: ["+1"],
    malformed: ["replica/bad"],
  });
});

test("reading: only what was written since is parsed", () => {
  const reader = new Reader();
  const log = logWith(replica("r1"), replica("r2"), replica("r3"), claim("web", "10.96.5.5"), slice(1));
  reader.read(log);
  assert.deepEqual([told(reader.read(log)), reader.parsed], [{}, []]);
  write(log, replica("r2", { state: "draining" }));
  write(log, claim("db", "10.96.5.6"));
  put(log, "replica/r3", null);
  const expected = { again: ["r2"], gone: ["r3"], claimed: ["default/db"] };
  assert.deepEqual(told(reader.read(log)), expected);
  assert.deepEqual(reader.parsed, ["replica/r2", "vip/default/db"]);
});

test("reading: a claim or slice that is written otherwise replaces the old one, the same one changes nothing", () => {
  const reader = new Reader();
  const log = logWith(claim("web", "10.96.5.5"), slice(1));
  reader.read(log);
  write(log, claim("web", "10.96.5.5"));
  write(log, slice(1));
  assert.deepEqual(told(reader.read(log)), {});
  write(log, claim("web", "10.96.5.9"));
  write(log, slice(2));
  const expected = { claimed: ["default/web"], unclaimed: ["default/web"], slices: ["+2"], lost: ["-1"] };
  assert.deepEqual(told(reader.read(log)), expected);
  put(log, "vip/default/web", null);
  put(log, "subnet/blue", "{");
  const gone = { unclaimed: ["default/web"], lost: ["-2"], malformed: ["subnet/blue"] };
  assert.deepEqual(told(reader.read(log)), gone);
});

test("reading: a record that becomes malformed is gone, one that is mended comes", () => {
  const reader = new Reader();
  const log = logWith(replica("r1"), replica("r2"));
  reader.read(log);
  const before = reader.owner.malformedKeys;
  put(log, "replica/r1", "{");
  assert.deepEqual(told(reader.read(log)), { gone: ["r1"], malformed: ["replica/r1"] });
  assert.equal(before.size, 0, "a set that was handed out stays as it was");
  write(log, replica("r1"));
  assert.deepEqual(told(reader.read(log)), { come: ["r1"] });
  put(log, "replica/r1", "{");
  reader.read(log);
  put(log, "replica/r1", null);
  assert.deepEqual(told(reader.read(log)), {});
});

test("reading: of another log only what is written otherwise is parsed, and what it lacks is gone", () => {
  const reader = new Reader();
  reader.read(logWith(replica("r1"), replica("r2"), replica("r3"), claim("web", "10.96.5.5"), slice(1)));
  const next = { ...logWith(replica("r2"), replica("r3", { weight: 5 }), replica("r4")), incarnation: 4 };
  const expected = {
    come: ["r4"],
    again: ["r3"],
    gone: ["r1"],
    unclaimed: ["default/web"],
    lost: ["-1"],
  };
  assert.deepEqual(told(reader.read(next)), expected);
  assert.deepEqual(reader.parsed, ["replica/r3", "replica/r4"]);
  write(next, replica("r2", { weight: 2 }));
  assert.deepEqual(told(reader.read(next)), { again: ["r2"] });
});

test("reading: a record that vanished without a tombstone is gone: a full store drops such ones", () => {
  const reader = new Reader();
  const log = logWith(replica("r1"), replica("r2"), claim("web", "10.96.5.5"));
  put(log, "vip/default/bad", "{");
  reader.read(log);
  for (const key of ["replica/r1", "vip/default/web", "vip/default/bad"]) log.entryByKey.delete(key);
  log.version += 1;
  assert.deepEqual(told(reader.read(log)), { gone: ["r1"], unclaimed: ["default/web"] });
});

test("reading: a collected tombstone changes nothing", () => {
  const reader = new Reader();
  const log = logWith(replica("r1"), replica("r2"));
  put(log, "replica/r1", null);
  reader.read(log);
  log.entryByKey.delete("replica/r1");
  assert.deepEqual(told(reader.read(log)), {});
});
