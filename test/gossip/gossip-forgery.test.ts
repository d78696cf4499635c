// A member that speaks for others: what it forges, replays, re-signs, withholds or brings back is believed by nobody,
// is told of by its name, and harms nobody honest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../../src/gossip/codec.ts";
import type { Delta, Message, Write } from "../../src/gossip/message.ts";
import { positionOf } from "../../src/gossip/ring.ts";
import { drainText } from "../../src/gossip/words.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { at, HEALED_MS, settled } from "../support/gossip-cluster.ts";
import type { Host } from "../support/gossip-host.ts";
import { GossipNetwork, idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, openNode } from "../support/gossip-node.ts";
import { certified, sealed, signed, writesOf } from "../support/sealed.ts";

/** Five hosts; the victim has published, changed and deleted something, and the liar has seen it all. */
function withHistory(): {
  network: GossipNetwork;
  liar: Host;
  victim: Host;
  honest: readonly Host[];
  pushed: readonly Delta[];
} {
  const { network, hosts } = settled(5);
  const [liar, victim] = [at(hosts, 0), at(hosts, 1)];
  const pushed: Delta[] = [];
  network.onFrame = ({ to, frame }) => {
    const decoded = decode(frame);
    if (to !== liar || !decoded.ok || decoded.value.kind !== "delta") return;
    pushed.push(...decoded.value.deltas.filter(({ owner }) => owner === victim.id));
  };
  for (const changes of [{ doomed: "1", kept: "1" }, { kept: "2" }, { doomed: null }]) {
    network.write(victim, changes);
    network.runFor(100);
  }
  network.onFrame = () => undefined;
  assert.equal(pushed.length, 3);
  for (const host of hosts) {
    host.refused.length = 0;
    host.happenings.length = 0;
  }
  return { network, liar, victim, honest: hosts.slice(1), pushed };
}

/** The liar sends a message to all it is linked to, to be passed on to everybody. */
function spread(network: GossipNetwork, liar: Host, deltas: readonly Delta[]): void {
  const frame = encode({ kind: "delta", deltas, until: positionOf(liar.id), acknowledge: false });
  for (const end of liar.endByLink.values()) network.send(end, frame);
}

/** The victim's log as it is, as one delta that anybody who holds it could send. */
function wholeOf(liar: Host, victim: Host, seal: Uint8Array): Delta {
  const { incarnation, version, floor, entryByKey } = liar.gossip.logs.get(victim.id) as OwnerLog;
  const writes = Array.from(entryByKey, ([key, entry]) => ({ key, ...entry }));
  return { owner: victim.id, incarnation, floor, from: 0, to: version, writes, seal };
}

/** Nothing of it is believed, everybody still agrees, and nobody was cut off. */
function unharmed({ network, victim, honest }: ReturnType<typeof withHistory>): void {
  network.runFor(3000);
  for (const host of honest) {
    assert.equal(network.bodyOf(host, victim, "kept"), "2", host.name);
    assert.equal(network.bodyOf(host, victim, "doomed"), null, host.name);
    assert.equal(network.bodyOf(host, victim, "forged"), null, host.name);
    assert.ok(!host.happenings.some(({ kind }) => kind === "link.lost"), host.name);
  }
  network.write(victim, { kept: "3" });
  network.runUntil("the victim is heard by all", 100, () =>
    honest.every((host) => network.bodyOf(host, victim, "kept") === "3"),
  );
  network.runUntil("all agree", HEALED_MS, () => network.agrees);
}

test("forgery: logs in another's name are taken by nobody, whatever is signed by whomever", () => {
  const scene = withHistory();
  const { network, liar, victim, pushed } = scene;
  const last = pushed.at(-1);
  assert.ok(last !== undefined && last.seal !== null);
  const { incarnation, to } = last;
  const write: Write = { key: "forged", version: to + 1, body: "x" };
  const next = { ...last, from: to, to: to + 1, writes: [write] };
  const seals = cheapSeals(liar.id);
  const ownSeal = seals.seal({ owner: victim.id, incarnation, version: to + 1 }, seals.emptySum());
  const whole = wholeOf(liar, victim, last.seal);
  const lies: Delta[] = [
    { ...next, seal: new Uint8Array(SEAL_BYTES) },
    { ...next, seal: last.seal },
    { ...next, seal: ownSeal },
    // The seal of one version over another one, and of one life over a later one.
    { ...last, to: to + 1 },
    { ...whole, incarnation: incarnation + 1 },
    { ...whole, incarnation: incarnation + 1, to: to + 1, writes: [certifiedOf(liar, victim), write] },
    // Past what is held, so that nobody can say yet whether it is good.
    { ...next, from: to + 5, to: to + 6, writes: [{ ...write, version: to + 6 }] },
    // A floor that would have everybody take the log anew.
    { ...whole, floor: to, to: to + 1 },
    { ...whole, floor: to + 9 },
  ];
  for (const lie of lies) {
    spread(network, liar, [lie]);
    network.runFor(50);
  }
  unharmed(scene);
});

/** The victim's certificate with the liar's seal under it would do, if a certificate alone were enough. */
function certifiedOf(liar: Host, victim: Host): Write {
  return { ...certified(victim.id), body: cheapSeals(liar.id).certificate };
}

test("forgery: who sends forged logs is told of once a minute, with whose log it was, and is not cut off", () => {
  const { network, liar, victim, honest, pushed } = withHistory();
  const last = pushed.at(-1) as Delta;
  const write = { key: "forged", version: last.to + 1, body: "x" };
  for (let round = 0; round < 20; round += 1) {
    spread(network, liar, [{ ...last, from: last.to, to: last.to + 1, writes: [write] }]);
    network.runFor(100);
  }
  for (const host of honest) {
    if (host === victim) continue;
    const told = host.happenings.filter(({ kind }) => kind === "mesh.refused");
    assert.deepEqual(
      told.map(({ subject, level }) => `${level} ${subject}`),
      ["warn a"],
      `${host.name} names the liar, and nobody else: what is not good is not passed on`,
    );
    assert.match(told[0]?.text ?? "", /the log of b .*sealed/);
    assert.ok(host.refused.includes("seal"));
    assert.equal(network.linksBetween(host, liar), 1);
  }
});

test("forgery: replayed, old states of a log change nothing", () => {
  const scene = withHistory();
  const { network, liar, pushed } = scene;
  for (const delta of [...pushed, ...pushed.toReversed()]) {
    spread(network, liar, [delta]);
    network.runFor(20);
  }
  unharmed(scene);
});

test("forgery: changed bodies, left out deletions and entries brought back do not fit the owner's seal", () => {
  const scene = withHistory();
  const { network, liar, victim, pushed } = scene;
  const seal = pushed.at(-1)?.seal;
  assert.ok(seal instanceof Uint8Array);
  const whole = wholeOf(liar, victim, seal);
  const touched: readonly ((writes: readonly Write[]) => readonly Write[])[] = [
    (writes) => writes.map((write) => (write.key === "kept" ? { ...write, body: "forged" } : write)),
    (writes) => writes.filter(({ key }) => key !== "kept"),
    (writes) => writes.map((write) => (write.key === "doomed" ? { ...write, body: "1" } : write)),
    (writes) => [...writes.slice(0, -1), { key: "forged", version: whole.to, body: "x" }],
  ];
  for (const touch of touched) {
    // To one who holds nothing of that life, as to a node that has just joined.
    const joiner = openNode({ name: "joiner" });
    joiner.accept(1, helloOf("liar"));
    joiner.say(1, deltas({ ...whole, writes: touch(whole.writes) }));
    assert.equal(joiner.gossip.logs.get(victim.id), undefined);
    assert.deepEqual(joiner.taken().refused, ["seal"]);
    // And to those who hold an earlier state of it.
    spread(network, liar, [{ ...whole, writes: touch(whole.writes) }]);
  }
  unharmed(scene);
});

test("forgery: a deletion that is withheld shows, and the log is taken whole from the next who has it", () => {
  const node = openNode();
  node.accept(1, helloOf("x"));
  node.say(1, deltas(deltaOf("o", 4)));
  const deletion: Write = { key: "k2", version: 5, body: null };
  const news: Write = { key: "k9", version: 6, body: "x" };
  const good = deltaOf("o", 6, { from: 4, writes: [deletion, news] });
  node.taken();
  node.say(1, deltas({ ...good, writes: [news] }));
  const { kinds, said, refused } = node.taken();
  assert.deepEqual([kinds, refused], [["digest 1"], ["seal"]]);
  const [asked] = said;
  assert.ok(asked?.message.kind === "digest");
  assert.deepEqual(asked.message.digest, [headOf("o", { incarnation: 0 })], "all of it");
  node.say(1, deltas({ ...good, writes: [news] }));
  assert.deepEqual(node.taken().kinds, [], "not again within a second");
  const kept = writesOf(idOf("o"), 0, 4).filter(({ key }) => key !== "k2");
  node.say(1, deltas(sealed({ ...good, from: 0, writes: [...kept, deletion, news] })));
  assert.equal(node.gossip.logs.get(idOf("o"))?.version, 6, "an honest peer heals");
});

test("forgery: versions of others that nobody wrote are asked for in vain, and hide nothing that was written", () => {
  const scene = withHistory();
  const { network, liar, victim } = scene;
  const { incarnation } = victim.gossip;
  for (const head of [
    { incarnation, version: 1_000_000 },
    { incarnation: incarnation + 1, version: 7 },
  ]) {
    const digest = [{ owner: victim.id, ...head, deadAt: null }];
    for (const message of [
      { kind: "digest", digest, scope: { kind: "all" }, wanted: true },
      { kind: "announce", digest },
    ] as const)
      for (const end of liar.endByLink.values()) network.send(end, encode(message));
    network.runFor(500);
  }
  assert.equal(victim.gossip.incarnation, incarnation);
  unharmed(scene);
});

test("forgery: nobody is accused in another's name", () => {
  const { network, hosts } = settled(5);
  const [liar, victim, witness, other] = [at(hosts, 0), at(hosts, 1), at(hosts, 2), at(hosts, 3)];
  network.dropLinks(other, victim);
  network.cut(other, victim);
  const { incarnation } = victim.gossip;
  // Word of one member is not enough; of three it would be.
  for (let round = 0; round < 40; round += 1) {
    for (const by of hosts.filter((host) => host !== victim && host !== liar)) {
      const rumor = { kind: "dead", subject: victim.id, incarnation, refutation: 0, by: by.id } as const;
      const signature = signed({ ...rumor, by: liar.id }).signature;
      const frame = encode({ kind: "rumor", rumors: [{ ...rumor, signature }], until: positionOf(liar.id) });
      for (const end of liar.endByLink.values()) network.send(end, frame);
    }
    network.runFor(50);
    for (const host of hosts) assert.notEqual(network.stateOf(host, victim), "dead", host.name);
  }
  const told = witness.happenings.filter(({ kind }) => kind === "mesh.refused");
  assert.deepEqual([...new Set(told.map(({ subject }) => subject))], ["a"]);
});

test("forgery: who says hello as another than its certificate says is refused by both names", () => {
  const node = openNode();
  node.gossip.linkUp({ id: 1, dialled: null, remote: "10.0.0.9:1", peer: idOf("liar") }, 0);
  node.say(1, helloOf("b"));
  const { close, happenings } = node.taken();
  assert.match(
    close[0]?.reason ?? "",
    new RegExp(`b says .* ${idOf("b")}, .* certificate of ${idOf("liar")}`),
  );
  assert.equal(happenings[0]?.kind, "member.refused");
  assert.equal(node.stateOf("b"), "unknown");
});

test("forgery: a new life whose log comes in parts does not replace the last one before it is whole and good", () => {
  const node = openNode();
  node.accept(1, helloOf("liar"));
  node.say(1, deltas(deltaOf("o", 4)));
  const [first, second] = inTwoParts("o", 2);
  node.say(1, deltas(first));
  assert.equal(node.gossip.logs.get(idOf("o"))?.incarnation, 1);
  node.say(1, deltas({ ...second, seal: new Uint8Array(SEAL_BYTES) }));
  assert.equal(node.gossip.logs.get(idOf("o"))?.incarnation, 1);
  node.say(1, deltas(first));
  node.say(1, deltas(second));
  assert.equal(node.gossip.logs.get(idOf("o"))?.incarnation, 2);
});

/** A log of eight writes, cut in the middle. */
function inTwoParts(owner: string, incarnation: number): [Delta, Delta] {
  const whole = deltaOf(owner, 8, { incarnation });
  return [
    { ...whole, to: 4, writes: whole.writes.slice(0, 4), seal: null },
    { ...whole, from: 4, writes: whole.writes.slice(4) },
  ];
}

test("forgery: deletions made up by who passes a log on cannot keep its owner's writes out", () => {
  const node = openNode();
  node.accept(1, helloOf("liar"));
  const end = 39_990;
  const kept = writesOf(idOf("o"), 0, 2);
  // No seal forbids tombstones of what was never there.
  const junk = Array.from({ length: end - 3 }, (_, index): Write => {
    return { key: `junk ${index}`, version: index + 3, body: null };
  });
  const whole = sealed({ ...deltaOf("o", end), writes: [...kept, ...junk] });
  node.say(1, deltas(whole));
  assert.equal(node.gossip.logs.get(idOf("o"))?.version, end);
  const news = writesOf(idOf("o"), end, end + 100);
  node.say(1, deltas(sealed({ ...whole, from: end, to: end + 100, writes: news }, kept)));
  const log = node.gossip.logs.get(idOf("o"));
  assert.equal(log?.entryByKey.get(`k${end + 100}`)?.body, "x");
  assert.ok((log?.floor ?? 0) > 0, "deletions that were forgotten for want of room are told of by the floor");
});

function askOf(part: { owner: string; asker: string; version: number; draining?: boolean }): Message {
  const { owner, asker, version, draining = true } = part;
  const words = {
    owner: idOf(owner),
    incarnation: 5,
    version,
    replica: "web-1",
    draining,
    asker: idOf(asker),
  };
  const signature = cheapSeals(idOf(asker)).sign(drainText(words));
  return { kind: "drain", ask: { ...words, signature }, hops: 1 };
}

test("forgery: what runs on another host is drained for managers only, and told of otherwise", () => {
  const network = new GossipNetwork({ seed: 1 });
  const owner = network.start("owner");
  const worker = network.start("worker", { role: "worker", seeds: [owner.address] });
  network.start("boss", { seeds: [owner.address] });
  network.runUntil("all agree", 5000, () => network.agrees);
  network.act(worker, (gossip) => gossip.askDrain(owner.id, "web-1", true));
  network.runFor(100);
  assert.deepEqual(owner.drains, []);
  const told = owner.happenings.find(({ kind }) => kind === "mesh.refused");
  assert.match(`${told?.subject} ${told?.text}`, /^worker asks to drain web-1, but is a worker/);
  network.act(network.host("boss"), (gossip) => gossip.askDrain(owner.id, "web-1", true));
  network.runFor(100);
  assert.deepEqual(owner.drains, [{ replica: "web-1", draining: true, by: "boss" }]);
});

test("forgery: a drain in a manager's name needs his signature, and one that was kept back comes too late", () => {
  const node = openNode();
  node.gossip.write(new Map([["node", "me"]]), 0);
  for (const [index, name] of ["liar", "boss"].entries()) {
    node.accept(index + 1, helloOf(name));
    node.say(index + 1, deltas(deltaOf(name, 2)));
  }
  node.taken();
  const ask = askOf({ owner: "m", asker: "boss", version: 2 });
  assert.ok(ask.kind === "drain");
  for (const touched of [
    { signature: null },
    { replica: "web-2" },
    { draining: false },
    { asker: idOf("liar") },
    { version: 3 },
    { asker: idOf("stranger") },
  ])
    node.say(1, { ...ask, ask: { ...ask.ask, ...touched } });
  const { drains, refused, happenings } = node.taken();
  assert.deepEqual([drains, refused.length, happenings.length], [[], 6, 1]);
  node.gossip.write(new Map([["node", "busy"]]), 10);
  node.say(1, askOf({ owner: "m", asker: "boss", version: 3, draining: false }), 20);
  assert.equal(node.taken().drains.length, 1);
  node.say(1, ask, 30);
  assert.deepEqual(node.taken().drains, [], "as of an earlier state than the last ask");
});
