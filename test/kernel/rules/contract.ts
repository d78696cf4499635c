// What rules promise of any kernel, the fake and the real one alike: each sentence begins with no table.

import assert from "node:assert/strict";

import type { Flows } from "../../../src/kernel/rules/conntrack.ts";
import type { RulesKernel } from "../../../src/kernel/rules/nft.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import { HELD_MS, openRules } from "../../../src/kernel/rules/rules.ts";
import { chain, type Ruleset } from "../../../src/kernel/rules/ruleset.ts";
import type { Service } from "../../../src/model/view.ts";

import { UNKNOWN_WORD } from "./fake.ts";
import { given, HOSTS, network, onOverlay, replica, service } from "./fixtures.ts";

/** No connections, and none forgotten. */
export const NO_FLOWS: Flows = {
  forget: () => undefined,
  sweep: () => undefined,
  resume: () => undefined,
  stop: () => undefined,
  problem: null,
  idle: () => Promise.resolve(),
};

const ALL = { mayRemove: true } as const;
const ADDING = { mayRemove: false } as const;
const CHAIN = (name: string): string => `all-default/${name}/80-tcp`;

function web(name: string, last: number, changes: Partial<Service> = {}): Service {
  const address = `172.17.0.${last}`;
  return service(name, { vip: `10.96.0.${last}`, replicas: [replica(name, { address })], ...changes });
}

/** A ruleset with overlay networks and everything that has elements. */
function plan(services: readonly Service[]): Ruleset {
  const scene = { services, networks: [network("app"), network("vault", { second: 161, encrypted: true })] };
  return planRules(
    given(scene, {
      guests: [{ address: "172.17.0.9", network: "app" }],
      pool6: "fd12:3456:789a::/64",
      ingressAddress: "::",
      listening: new Set(["8080/tcp"]),
      askers: [
        { kind: "bridge", device: "sk-app", to: "10.160.1.1:53", to6: "[fd12::1]:53" },
        { kind: "address", address: "172.17.0.9", to: "172.17.0.1:53" },
      ],
    }),
    0,
  );
}

const PUBLISH = [{ published: 8080, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
const SIX = { address6: "fd12:3456:789a:10a0:1::2" };
const BOTH = service("both", {
  vip6: "fd12:3456:789a::5",
  vip: "10.96.0.7",
  publish: PUBLISH,
  network: "app",
  replicas: [onOverlay(1, 2, SIX)],
});

function open(kernel: RulesKernel, nowMs: () => number = () => 0): ReturnType<typeof openRules> {
  return openRules({ kernel, flows: NO_FLOWS, nowMs });
}

async function chainsOf(kernel: RulesKernel): Promise<ReadonlyMap<string, readonly string[]>> {
  return (await kernel.list())?.chains ?? new Map();
}

/** Somebody else's script, which the kernel takes. */
async function other(kernel: RulesKernel, ...lines: readonly string[]): Promise<void> {
  assert.equal(await kernel.apply(`${lines.join("\n")}\n`), null);
}

export const CONTRACT: Readonly<Record<string, (kernel: RulesKernel) => Promise<void>>> = {
  "what was applied is there, and another life of the daemon has nothing to change": async (kernel) => {
    const desired = plan([BOTH, web("a", 2), web("b", 3)]);
    const { changes, problems } = await open(kernel).apply(desired, ALL);
    assert.ok(changes > 10);
    assert.deepEqual(problems, []);
    assert.ok((await chainsOf(kernel)).has(CHAIN("a")));
    assert.deepEqual(await open(kernel).apply(desired, ALL), { changes: 0, problems: [] });
  },

  "a change of one service touches its own chain": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([web("a", 2), web("b", 3)]), ALL);
    const replicas = [replica("a"), replica("a2", { address: "172.17.0.8" })];
    assert.equal((await rules.apply(plan([web("a", 2, { replicas }), web("b", 3)]), ALL)).changes, 1);
    assert.equal((await rules.apply(plan([web("a", 2, { replicas }), web("b", 3)]), ALL)).changes, 0);
  },

  "services that go take their chains and addresses with them": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([BOTH, web("a", 2), web("b", 3)]), ALL);
    await rules.apply(plan([web("b", 4)]), ALL);
    const there = await kernel.list();
    assert.ok(!there?.chains.has(CHAIN("a")));
    assert.deepEqual([...(there?.sets.get("vips")?.keys() ?? [])], ["10.96.0.4 . 6 . 80"]);
  },

  "a service's counter stays while its chains change, and goes with the last of them": async (kernel) => {
    const rules = open(kernel);
    const counters = async (): Promise<string[]> => [...((await kernel.list())?.counters ?? [])].toSorted();
    await rules.apply(plan([BOTH, web("a", 2), web("b", 3)]), ALL);
    assert.deepEqual(await counters(), ["led-app/both", "led-default/a", "led-default/b"]);
    const replicas = [replica("a"), replica("a2", { address: "172.17.0.8" })];
    await rules.apply(plan([web("a", 2, { replicas }), web("b", 3)]), ALL);
    assert.deepEqual(await counters(), ["led-default/a", "led-default/b"]);
    await rules.apply(plan([web("b", 3)]), ADDING);
    assert.deepEqual(await counters(), ["led-default/a", "led-default/b"], "not while not all is known");
    await rules.apply(plan([web("b", 3)]), ALL);
    assert.deepEqual(await counters(), ["led-default/b"]);
  },

  "rules of a release that did not count are made others in place": async (kernel) => {
    const desired = plan([web("a", 2)]);
    const uncounted = [...desired.chains].map(([name, { rules, hook, service: whose }]) => {
      const texts = rules.map(({ text }) => text.replace(/ counter name \S+/, ""));
      const options = { ...(hook !== null && { hook }), ...(whose !== null && { service: whose }) };
      return [name, chain(name, texts, options)] as const;
    });
    await open(kernel).apply({ ...desired, chains: new Map(uncounted) }, ALL);
    assert.equal((await kernel.list())?.counters.size, 0);
    assert.equal((await open(kernel).apply(desired, ALL)).changes, 1, "its chain, and not the table");
    assert.deepEqual([...((await kernel.list())?.counters ?? [])], ["led-default/a"]);
  },

  "a VIP that changes hands leads to its new service": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([web("a", 2)]), ALL);
    await rules.apply(plan([web("b", 2)]), ALL);
    const vips = (await kernel.list())?.sets.get("vips");
    assert.equal(vips?.get("10.96.0.2 . 6 . 80"), `jump ${CHAIN("b")}`);
  },

  "what somebody else changed is repaired": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([web("a", 2), web("b", 3)]), ALL);
    await other(
      kernel,
      `flush chain inet skein ${CHAIN("a")}`,
      "add rule inet skein forward accept",
      "delete element inet skein vips { 10.96.0.3 . 6 . 80 }",
      "add element inet skein hosts { 192.0.2.99 }",
    );
    assert.equal((await rules.repair()).changes, 4);
    assert.equal((await rules.repair()).changes, 0);
  },

  "a table that somebody took away is there again with the next change or repair": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([web("a", 2)]), ALL);
    await other(kernel, "delete table inet skein");
    assert.ok((await rules.apply(plan([web("a", 2), web("b", 3)]), ALL)).changes > 0);
    assert.ok((await chainsOf(kernel)).has(CHAIN("b")));
    await other(kernel, "delete table inet skein");
    assert.ok((await rules.repair()).changes > 0);
    assert.ok((await chainsOf(kernel)).has(CHAIN("a")));
  },

  "while not all is known nothing is taken away, and an earlier life's chains stand": async (kernel) => {
    await open(kernel).apply(plan([web("a", 2), web("b", 3)]), ALL);
    const before = await chainsOf(kernel);
    const rules = open(kernel);
    const replicas = [replica("a", { address: "172.17.0.77" })];
    await rules.apply(plan([web("a", 2, { replicas }), web("c", 4)]), ADDING);
    const after = await chainsOf(kernel);
    assert.deepEqual(after.get(CHAIN("a")), before.get(CHAIN("a")));
    assert.deepEqual(after.get(CHAIN("b")), before.get(CHAIN("b")));
    assert.ok(after.has(CHAIN("c")));
    assert.equal((await kernel.list())?.sets.get("vips")?.size, 3);
    await rules.apply(plan([web("a", 2, { replicas }), web("c", 4)]), ALL);
    assert.notDeepEqual((await chainsOf(kernel)).get(CHAIN("a")), before.get(CHAIN("a")));
    assert.ok(!(await chainsOf(kernel)).has(CHAIN("b")));
  },

  "what an earlier life left is held for a while only, though not all is known for longer": async (
    kernel,
  ) => {
    await open(kernel).apply(plan([web("a", 2), web("b", 3)]), ALL);
    const before = await chainsOf(kernel);
    let nowMs = 0;
    const rules = open(kernel, () => nowMs);
    const replicas = [replica("a", { address: "172.17.0.77" })];
    const desired = plan([web("a", 2, { replicas }), web("c", 3)]);
    await rules.apply(desired, ADDING);
    assert.deepEqual((await chainsOf(kernel)).get(CHAIN("a")), before.get(CHAIN("a")));
    nowMs = HELD_MS;
    await rules.apply(desired, ADDING);
    const after = await kernel.list();
    assert.notDeepEqual(after?.chains.get(CHAIN("a")), before.get(CHAIN("a")));
    assert.ok(after?.chains.has(CHAIN("b")), "nothing is taken away");
    assert.equal(after?.sets.get("vips")?.get("10.96.0.3 . 6 . 80"), `jump ${CHAIN("c")}`);
    assert.equal((await rules.apply(desired, ADDING)).changes, 0);
  },

  "what the proxy must serve by now arrives there after that while": async (kernel) => {
    await open(kernel).apply(plan([web("a", 2), web("b", 3)]), ALL);
    let nowMs = 0;
    const rules = open(kernel, () => nowMs);
    const streamed = replica("a", { local: false, node: HOSTS[1], reach: "stream" });
    const desired = plan([web("a", 2, { replicas: [streamed] }), web("b", 3, { replicas: [] })]);
    await rules.apply(desired, ADDING);
    assert.notDeepEqual((await chainsOf(kernel)).get(CHAIN("a")), []);
    nowMs = HELD_MS;
    assert.equal((await rules.apply(desired, ADDING)).changes, 1);
    assert.deepEqual((await chainsOf(kernel)).get(CHAIN("a")), []);
    assert.notDeepEqual(
      (await chainsOf(kernel)).get(CHAIN("b")),
      [],
      "of whom nobody knows more than the rules",
    );
    assert.equal((await kernel.list())?.sets.get("vips")?.size, 2);
    assert.equal((await rules.repair()).changes, 0);
  },

  "a chain of this life follows what becomes known": async (kernel) => {
    const rules = open(kernel);
    await rules.apply(plan([web("a", 2)]), ADDING);
    const before = (await chainsOf(kernel)).get(CHAIN("a"));
    await rules.apply(plan([web("a", 2, { replicas: [replica("x", { address: "172.17.0.5" })] })]), ADDING);
    assert.notDeepEqual((await chainsOf(kernel)).get(CHAIN("a")), before);
  },

  "what is refused costs its own service, is told, and is tried again when it changes": async (kernel) => {
    const rules = open(kernel);
    const good = plan([web("a", 2), web("b", 3), web("c", 4), web("d", 5)]);
    const bad = chain(CHAIN("b"), [UNKNOWN_WORD], { service: "default/b" });
    const { problems } = await rules.apply(
      { ...good, chains: new Map(good.chains).set(CHAIN("b"), bad) },
      ALL,
    );
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? "", /^service default\/b is left to the proxy: nft refuses its rules: /);
    const there = await kernel.list();
    for (const name of ["a", "c", "d"]) assert.ok(there?.chains.has(CHAIN(name)), name);
    assert.equal(there?.chains.has(CHAIN("b")), false);
    assert.equal(there?.sets.get("vips")?.size, 3);
    assert.deepEqual((await rules.apply(good, ALL)).problems, []);
    assert.ok((await chainsOf(kernel)).has(CHAIN("b")));
  },

  "a table of another layout is made anew": async (kernel) => {
    await other(
      kernel,
      "add table inet skein",
      "add set inet skein vips { type ipv4_addr; }",
      "add chain inet skein layout-00000000",
    );
    const rules = open(kernel);
    assert.equal((await rules.apply(plan([web("a", 2)]), ADDING)).changes, 0, "not while not all is known");
    assert.ok((await chainsOf(kernel)).has("layout-00000000"));
    await rules.apply(plan([web("a", 2)]), ALL);
    assert.deepEqual(await open(kernel).apply(plan([web("a", 2)]), ALL), { changes: 0, problems: [] });
    assert.ok(!(await chainsOf(kernel)).has("layout-00000000"));
  },

  "freed, nobody's questions for names are turned any more, and all else stays": async (kernel) => {
    const desired = plan([BOTH, web("a", 2)]);
    const rules = open(kernel);
    await rules.apply(desired, ALL);
    const before = await kernel.list();
    assert.deepEqual(await rules.freeQuestions(), { changes: 3, problems: [] });
    const after = await kernel.list();
    const questions = ["asking", "asking6", "askers"];
    for (const name of questions) assert.equal(after?.sets.get(name)?.size, 0, name);
    assert.deepEqual(after?.chains, before?.chains);
    const others = [...(before?.sets ?? [])].filter(([name]) => !questions.includes(name));
    for (const [name, elements] of others) assert.deepEqual(after?.sets.get(name), elements, name);
    assert.deepEqual(await rules.freeQuestions(), { changes: 0, problems: [] });
    assert.equal((await open(kernel).apply(desired, ALL)).changes, 3, "the next life turns them again");
  },

  "removed, nothing of it is left, whoever made it": async (kernel) => {
    await open(kernel).apply(plan([web("a", 2)]), ALL);
    const rules = open(kernel);
    assert.deepEqual(await rules.remove(), { changes: 1, problems: [] });
    assert.equal(await kernel.list(), null);
    assert.deepEqual(await rules.remove(), { changes: 0, problems: [] });
  },
};
