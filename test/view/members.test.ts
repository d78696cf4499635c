// Who is in the picture: by their own record and what gossip tells, looked at again only where something changed.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { NodeId } from "../../src/model/ids.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import type { Standing } from "../../src/model/member.ts";
import { parseRecord } from "../../src/model/record.ts";
import { Members, type MembersGiven } from "../../src/view/members.ts";
import { idOf } from "../support/gossip-network.ts";

import { logOf, standing } from "./cluster.ts";

function given(
  logs: readonly OwnerLog[],
  standings: readonly Standing[],
  changed?: readonly string[],
): MembersGiven {
  const standingById = new Map(standings.map((one) => [one.id, one]));
  const told = changed?.map((name) => [idOf(name), standingById.get(idOf(name)) ?? null] as const);
  return {
    self: idOf("a"),
    standings: told === undefined ? standings : [],
    changed: told === undefined ? null : new Map(told),
    logs: new Map(logs.map((log): [NodeId, OwnerLog] => [log.owner, log])),
    roleOf: () => "worker",
    startedAtMs: 500,
  };
}

const [a, b, c] = [logOf("a", []), logOf("b", []), logOf("c", [])];

/** Takes a step, as these members are told of and counted on the way. */
function step(members: Members, input: MembersGiven): string[] {
  return members.update(input).map(({ owner, before, log }) => {
    const move = before === null ? "+" : log === null ? "-" : before === owner.member ? "=" : "~";
    // As the merger does once it has read the log.
    owner.log = log;
    owner.version = log?.version ?? 0;
    return `${move}${owner.member.name}`;
  });
}

const namesOf = ({ list }: Members) => list.map(({ name }) => name);

test("members: who comes, changes and goes is told, and everybody else passed over", () => {
  const members = new Members(parseRecord);
  assert.deepEqual(step(members, given([a, b, c], [standing("c"), standing("b")])).toSorted(), [
    "+a",
    "+b",
    "+c",
  ]);
  assert.deepEqual(namesOf(members), ["a", "b", "c"]);
  const before = members.list;
  assert.deepEqual(step(members, given([a, b, c], [standing("c"), standing("b")])), []);
  assert.equal(members.list, before);
  assert.deepEqual(step(members, given([a, b, c], [standing("c", "suspect"), standing("b")])), ["~c"]);
  assert.equal(members.list[1], before[1]);
  assert.deepEqual(step(members, given([a, b, c], [standing("c", "suspect")])), ["-b"]);
  assert.deepEqual(step(members, given([a, b], [standing("c", "suspect")])), ["-c"]);
  assert.deepEqual(namesOf(members), ["a"]);
});

test("members: only those are looked at who are told to have changed", () => {
  const members = new Members(parseRecord);
  const everybody = [standing("b"), standing("c")];
  assert.deepEqual(step(members, given([a, b, c], everybody, ["a", "b", "c"])), ["+a", "+b", "+c"]);
  const others = [standing("b", "dead"), standing("c", "dead")];
  assert.deepEqual(step(members, given([a, b, c], others, ["c"])), ["~c"]);
  assert.deepEqual(step(members, given([a, b, c], [others[1] ?? standing("c")], ["b"])), ["-b"]);
  assert.deepEqual(step(members, given([a, b, c], others, [])), []);
});

test("members: the role is that of the certificate, and another one makes another member of who stays", () => {
  const members = new Members(parseRecord);
  const roleOf = (id: NodeId) => (id === idOf("b") ? "manager" : "worker");
  step(members, { ...given([a, b], [standing("b")]), roleOf });
  const rolesOf = (): string[] => members.list.map(({ name, role }) => `${name} ${role}`);
  assert.deepEqual(rolesOf(), ["a worker", "b manager"]);
  const [first] = members.list;
  const renewed = { ...b, version: b.version + 1 };
  assert.deepEqual(step(members, given([a, renewed], [standing("b")], ["b"])), ["~b"]);
  assert.deepEqual(rolesOf(), ["a worker", "b worker"]);
  assert.equal(members.list[0], first);
});

test("members: a log that moved is told though its member is as before; its incarnation is the member's", () => {
  const members = new Members(parseRecord);
  step(members, given([a, b], [standing("b")]));
  const written = { ...b, version: b.version + 1 };
  assert.deepEqual(step(members, given([a, written], [standing("b")])), ["=b"]);
  const [, before] = members.list;
  assert.deepEqual(step(members, given([a, { ...written, incarnation: 9 }], [standing("b")])), ["~b"]);
  const [, after] = members.list;
  assert.deepEqual(after, { ...before, incarnation: 9 });
});

test("members: how one is reached, when it settles and its round trip are shown as they are told", () => {
  const members = new Members(parseRecord);
  step(members, given([a, b], [{ ...standing("b"), via: idOf("c"), settlesAtMs: 7, rttMs: null }]));
  const { via, settlesAtMs, rttMs } = members.list[1] ?? assert.fail("b is a member");
  assert.deepEqual([via, settlesAtMs, rttMs], [idOf("c"), 7, null]);
  step(members, given([a, b], [{ ...standing("b"), rttMs: 3 }]));
  assert.deepEqual([members.list[1]?.via, members.list[1]?.rttMs], [null, 3]);
  const self = members.list[0] ?? assert.fail("a is a member");
  assert.deepEqual(
    [self.self, self.state, self.sinceMs, self.via, self.settlesAtMs],
    [true, "alive", 500, null, null],
  );
});

test("members: one that changes its name moves in the list; two of one name stand by id", () => {
  const members = new Members(parseRecord);
  step(members, given([a, b, c], [standing("b"), standing("c")]));
  const entryOf = (log: OwnerLog): Entry => log.entryByKey.get("node") ?? assert.fail("it has a node record");
  const renamed = (log: OwnerLog, name: string): OwnerLog => {
    const body = (entryOf(log).body ?? "").replace(/"name":"[a-z]"/, `"name":"${name}"`);
    return { ...log, entryByKey: new Map([["node", { version: 9, body }]]) };
  };
  step(members, given([a, renamed(b, "x"), c], [standing("b"), standing("c")]));
  assert.deepEqual(namesOf(members), ["a", "c", "x"]);
  step(members, given([a, renamed(b, "x"), renamed(c, "x")], [standing("b"), standing("c")]));
  assert.deepEqual(
    members.list.map(({ id }) => id),
    [idOf("a"), ...[idOf("b"), idOf("c")].toSorted()],
  );
});

test("members: one whose own record makes no sense is none, and why is told till it is mended", () => {
  const members = new Members(parseRecord);
  const bad = logOf("b", [], { node: "{" });
  const none = members.unreadable;
  assert.deepEqual(step(members, given([a, bad], [standing("b")])), ["+a"]);
  assert.match(members.unreadable.get(idOf("b")) ?? "", /^record "node" holds/);
  const told = members.unreadable;
  step(members, given([a, bad], [standing("b")]));
  assert.equal(members.unreadable, told);
  assert.deepEqual(step(members, given([a, b], [standing("b")])), ["+b"]);
  assert.equal(members.unreadable.size, 0);
  step(members, given([a, bad], [standing("b")]));
  assert.deepEqual(namesOf(members), ["a"]);
  step(members, given([a], []));
  assert.deepEqual([...members.unreadable], [...none]);
});
