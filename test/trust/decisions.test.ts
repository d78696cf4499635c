// What becomes of the managers' word: who is believed, what this node says in turn, and who is parted with.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Charter } from "../../src/model/charter.ts";
import type { Credential, Role } from "../../src/model/credential.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { charterEntries } from "../../src/trust/charter.ts";
import { Decisions, type Logs } from "../../src/trust/decisions.ts";
import { cheapSeals, type CheapSeals } from "../support/cheap-seals.ts";

import { authorities, charterWith, makeAuthority, retired } from "./certificates.ts";

const NOW_MS = 1_000_000;
const SELF = "s".repeat(20);
const [BOSS, OTHER, HAND] = ["b".repeat(20), "d".repeat(20), "h".repeat(20)];

interface LiveLog extends OwnerLog {
  version: number;
  readonly entryByKey: Map<string, Entry>;
}

/** Logs in memory, and who wrote them. */
class Carrier implements Logs {
  readonly logs = new Map<string, LiveLog>();
  readonly roles = new Map<string, Role>();
  readonly expelled: string[] = [];

  credentialOf(id: string): Credential | undefined {
    const role = this.roles.get(id);
    return role === undefined ? undefined : { id, role, issuer: "", notAfterMs: Infinity };
  }

  write(changes: ReadonlyMap<string, string | null>): void {
    this.puts(SELF, changes);
  }

  expel(id: string): void {
    this.expelled.push(id);
  }

  /** An owner writes to its log. */
  puts(owner: string, changes: ReadonlyMap<string, string | null>, role?: Role): void {
    if (role !== undefined) this.roles.set(owner, role);
    const log = this.logs.get(owner) ?? {
      owner,
      incarnation: 1,
      version: 0,
      floor: 0,
      entryByKey: new Map(),
    };
    this.logs.set(owner, log);
    for (const [key, body] of changes) {
      log.version += 1;
      log.entryByKey.delete(key);
      log.entryByKey.set(key, { version: log.version, body });
    }
  }

  /** What stands in this node's own log. */
  own(): Record<string, string | null> {
    const entries = this.logs.get(SELF)?.entryByKey ?? new Map<string, Entry>();
    return Object.fromEntries(Array.from(entries, ([key, { body }]) => [key, body]));
  }
}

function open(
  charter: Charter,
  role: Role = "worker",
): { carrier: Carrier; seals: CheapSeals; decisions: Decisions } {
  const carrier = new Carrier();
  const seals = cheapSeals(SELF, role);
  const nameOf = (id: string): string => `host-${id.slice(0, 1)}`;
  return { carrier, seals, decisions: new Decisions({ self: SELF, seals, charter, carrier, nameOf }) };
}

function charter(changed: Partial<Charter> = {}): Charter {
  return charterWith([authorities()[0]], changed);
}

function entry(key: string, value: unknown): ReadonlyMap<string, string> {
  return new Map([[key, JSON.stringify(value)]]);
}

describe("decisions", () => {
  it("what a manager writes in its log is taken, and told once that it is to be kept", () => {
    const { carrier, decisions } = open(charter());
    assert.equal(decisions.take().charter, null);
    carrier.puts(BOSS, entry("cluster/tokens", { worker: 3, manager: 2 }), "manager");
    decisions.hear([BOSS, OTHER], NOW_MS);
    assert.deepEqual(decisions.charter.tokens, { worker: 3, manager: 2 });
    assert.equal(decisions.take().charter, decisions.charter);
    decisions.hear([BOSS], NOW_MS);
    carrier.puts(OTHER, entry("cluster/tokens", { worker: 1, manager: 1 }), "manager");
    decisions.hear([OTHER], NOW_MS);
    assert.deepEqual(decisions.take(), { charter: null, refused: [], happenings: [] });
  });

  it("what a worker writes there is not taken: it is counted and told with its name, once for what it wrote", () => {
    const { carrier, decisions } = open(charter());
    carrier.puts(HAND, entry("cluster/tokens", { worker: 9, manager: 9 }), "worker");
    carrier.puts(HAND, entry(`cluster/revoked/${BOSS}`, { untilMs: NOW_MS * 2 }));
    decisions.hear([HAND], NOW_MS);
    const { charter: changed, refused, happenings } = decisions.take();
    assert.deepEqual([changed, refused], [null, ["cluster"]]);
    assert.deepEqual(
      happenings.map(({ kind, subject }) => [kind, subject]),
      [["member.refused", "host-h"]],
    );
    assert.match(happenings[0]?.text ?? "", /"cluster\/tokens".*worker; expected a manager/);
    carrier.puts(HAND, entry("node", {}));
    decisions.hear([HAND], NOW_MS);
    assert.deepEqual(decisions.take().refused, []);
    assert.deepEqual(carrier.expelled, []);
  });

  it("networks follow from what managers write, stay one list while they do, and are nobody else's to make", () => {
    const { carrier, decisions } = open(charter());
    const none = decisions.networks;
    assert.equal(none.length, 0);
    const made = { order: 1, range: "10.160.0.0/16", sliceBits: 24, vni: 5000, encrypted: true, ipv6: false };
    carrier.puts(HAND, entry("cluster/network/app", made), "worker");
    decisions.hear([HAND], NOW_MS);
    assert.equal(decisions.networks, none);
    carrier.puts(BOSS, entry("cluster/network/app", made), "manager");
    decisions.hear([BOSS], NOW_MS);
    const { networks } = decisions;
    assert.deepEqual(
      networks.map(({ name, range, encrypted }) => [name, range.text, encrypted]),
      [["app", "10.160.0.0/16", true]],
    );
    carrier.puts(BOSS, entry("cluster/tokens", { worker: 3, manager: 2 }));
    decisions.hear([BOSS], NOW_MS);
    assert.equal(decisions.networks, networks);
    carrier.puts(BOSS, entry("cluster/network/app", { order: 2, removed: true }));
    decisions.hear([BOSS], NOW_MS);
    assert.deepEqual(decisions.networks, []);
  });

  it("an owner that becomes a manager is believed from then on, also in what it wrote before", () => {
    const { carrier, decisions } = open(charter());
    carrier.puts(HAND, entry("cluster/tokens", { worker: 4, manager: 4 }), "worker");
    decisions.hear([HAND], NOW_MS);
    carrier.puts(HAND, entry(CERTIFICATE_KEY, "another"), "manager");
    decisions.hear([HAND], NOW_MS);
    assert.equal(decisions.charter.tokens.worker, 4);
  });

  it("another life of an owner is read from its begin", () => {
    const { carrier, decisions } = open(charter());
    carrier.puts(BOSS, entry("cluster/tokens", { worker: 2, manager: 1 }), "manager");
    carrier.puts(BOSS, entry("node", {}));
    decisions.hear([BOSS], NOW_MS);
    carrier.logs.delete(BOSS);
    carrier.puts(BOSS, entry("cluster/tokens", { worker: 5, manager: 1 }));
    decisions.hear([BOSS], NOW_MS);
    assert.equal(decisions.charter.tokens.worker, 5);
  });

  it("a manager's malformed entry is told and harms none of its others", () => {
    const { carrier, decisions } = open(charter());
    carrier.puts(BOSS, new Map([["cluster/tokens", "{"]]), "manager");
    carrier.puts(BOSS, entry(`cluster/revoked/${HAND}`, { untilMs: NOW_MS * 2 }));
    carrier.puts(BOSS, entry("cluster/motto", "of a later version"));
    decisions.hear([BOSS], NOW_MS);
    const { refused, happenings } = decisions.take();
    assert.deepEqual(refused, ["cluster"]);
    assert.deepEqual(
      happenings.map(({ kind, subject }) => `${kind} ${subject}`),
      ["member.refused host-b"],
    );
    assert.deepEqual(carrier.expelled, [HAND]);
  });

  it("an authority counts when a known one vouches for it; one that nobody vouches for is told and not taken", () => {
    const [first, second] = authorities();
    const { carrier, decisions } = open(charter());
    const foreign = makeAuthority(charter().clusterId, 7);
    carrier.puts(BOSS, charterEntries(charterWith([foreign])), "manager");
    decisions.hear([BOSS], NOW_MS);
    const { refused, happenings } = decisions.take();
    assert.deepEqual(refused, ["cluster"]);
    assert.ok(happenings[0]?.text.includes(foreign.root.fingerprint.slice(0, 16)));
    carrier.puts(BOSS, charterEntries(retired(charterWith([first, second]), first)));
    decisions.hear([BOSS], NOW_MS);
    assert.deepEqual(decisions.charter.roots, retired(charterWith([first, second]), first).roots);
    assert.deepEqual(decisions.take().refused, []);
  });

  it("who was removed is parted with at once and once, whoever decided it, and on the first tick of a life", () => {
    const { carrier, decisions } = open(charter({ revoked: [{ id: OTHER, untilMs: NOW_MS * 2 }] }));
    decisions.tick(NOW_MS);
    assert.deepEqual(carrier.expelled, [OTHER]);
    assert.deepEqual(decisions.take().happenings, []);
    decisions.merge(charter({ revoked: [{ id: HAND, untilMs: NOW_MS * 2 }] }), NOW_MS);
    assert.deepEqual(carrier.expelled, [OTHER, HAND]);
    assert.equal(decisions.take().charter?.revoked.length, 2);
    decisions.tick(NOW_MS);
    assert.equal(carrier.expelled.length, 2);
  });

  it("a node that was removed itself is told so, and parts with nobody for that", () => {
    const { carrier, decisions } = open(charter());
    carrier.puts(BOSS, entry(`cluster/revoked/${SELF}`, { untilMs: NOW_MS * 2 }), "manager");
    decisions.hear([BOSS], NOW_MS);
    const [happening] = decisions.take().happenings;
    assert.equal(happening?.kind, "member.revoked");
    assert.match(happening?.text ?? "", /this node was removed/);
    assert.deepEqual(carrier.expelled, []);
  });

  it("a removal that is over is forgotten, and does not come back from who has not forgotten it yet", () => {
    const { carrier, decisions } = open(
      charter({ revoked: [{ id: OTHER, untilMs: NOW_MS + 10 }] }),
      "manager",
    );
    carrier.puts(SELF, entry("node", {}));
    decisions.tick(NOW_MS);
    const key = `cluster/revoked/${OTHER}`;
    assert.equal(carrier.own()[key], JSON.stringify({ untilMs: NOW_MS + 10 }));
    decisions.tick(NOW_MS + 11);
    assert.deepEqual(decisions.take().charter?.revoked, []);
    assert.equal(carrier.own()[key], null, "nor is it said any more");
    carrier.puts(BOSS, entry(key, { untilMs: NOW_MS + 10 }), "manager");
    decisions.hear([BOSS], NOW_MS + 11);
    assert.equal(decisions.take().charter, null);
  });

  it("a manager says all that it knows, with its certificate; a worker only hands out its certificate", () => {
    for (const role of ["manager", "worker"] as const) {
      const known = charter({
        tokens: { worker: 2, manager: 5 },
        revoked: [{ id: HAND, untilMs: NOW_MS * 2 }],
      });
      const { carrier, seals, decisions } = open(known, role);
      const certificate: [string, string] = [CERTIFICATE_KEY, seals.certificate];
      const wanted = role === "worker" ? [certificate] : [certificate, ...charterEntries(known)];
      assert.deepEqual([...decisions.writes(NOW_MS)], wanted, "its certificate comes first");
      decisions.tick(NOW_MS);
      assert.deepEqual(carrier.own(), {}, "a node that has not begun to speak is not made to");
      carrier.puts(SELF, entry("node", {}));
      decisions.tick(NOW_MS);
      assert.deepEqual(carrier.own(), { node: "{}", ...Object.fromEntries(wanted) });
      const { version = 0 } = carrier.logs.get(SELF) ?? {};
      for (const later of [1, 2, 3]) decisions.tick(NOW_MS + later);
      assert.equal(carrier.logs.get(SELF)?.version, version, "nothing new, nothing written");
    }
  });

  it("what a manager hears it says, too: so a decision outlives who made it", () => {
    const { carrier, decisions } = open(charter(), "manager");
    carrier.puts(SELF, entry("node", {}));
    carrier.puts(BOSS, entry("cluster/tokens", { worker: 8, manager: 1 }), "manager");
    decisions.hear([BOSS], NOW_MS);
    decisions.tick(NOW_MS);
    assert.equal(carrier.own()["cluster/tokens"], JSON.stringify({ worker: 8, manager: 1 }));
  });

  it("after a renewal the new certificate is handed out", () => {
    const { carrier, seals, decisions } = open(charter());
    carrier.puts(SELF, entry("node", {}));
    decisions.tick(NOW_MS);
    seals.certificate = cheapSeals(SELF, "worker", { notAfterMs: NOW_MS * 3 }).certificate;
    decisions.tick(NOW_MS);
    assert.equal(carrier.own()[CERTIFICATE_KEY], seals.certificate);
  });

  it("a charter of another cluster changes nothing", () => {
    const { decisions } = open(charter());
    decisions.merge({ ...charter({ tokens: { worker: 9, manager: 9 } }), clusterId: "z".repeat(20) }, NOW_MS);
    assert.equal(decisions.take().charter, null);
  });
});
