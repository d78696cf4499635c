// What links keep to, whichever kernel they are made in: run with a fake one, and with Linux.

import assert from "node:assert/strict";

import { placeOf } from "../../../src/kernel/links/diff.ts";
import { openLinks, type LinksPart } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import type { LinkKernel, LinkState } from "../../../src/kernel/links/state.ts";
import { vxlanDevice } from "../../../src/kernel/names.ts";
import { APP, DB, givenOf, type Picture } from "./cluster.ts";

/** What others do around us. */
export interface Around {
  addBridge(name: string, gateway: string): Promise<void>;
  removeBridge(name: string): Promise<void>;
  removeDevice(name: string): Promise<void>;
  /** A route of somebody else's in the main table. */
  addForeignRoute(to: string): Promise<void>;
  hasForeignRoute(to: string): Promise<boolean>;
  addForeignVxlan(vni: number): Promise<void>;
  /** All links, routes, rules and neighbours there are, as text. */
  everything(): Promise<readonly string[]>;
}

export interface Subject {
  readonly kernel: LinkKernel;
  readonly around: Around;
}

const ALL = { mayRemove: true };
const RANGE6 = "fd12:3456:789a:4d::/64";
const DUAL: Picture = { networks: [{ ...APP, range6: RANGE6 }, DB] };

function open({ kernel }: Subject): LinksPart {
  return openLinks({ kernel });
}

async function withBridges({ around }: Subject): Promise<void> {
  await around.addBridge("sk-app", "10.160.1.1");
  await around.addBridge("sk-db", "10.161.1.1");
}

async function expect(subject: Subject, picture: Picture): Promise<void> {
  assert.deepEqual(sorted(await subject.kernel.observe()), sorted(planLinks(givenOf(picture)).things));
}

function sorted(state: LinkState): LinkState {
  return [...state].sort((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
}

/** Each with a kernel in which nothing is of ours. */
export const CONTRACT: Readonly<Record<string, (subject: Subject) => Promise<void>>> = {
  "what is planned is there, and applying it again changes nothing": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    const { changes, problems } = await links.apply(planLinks(givenOf(DUAL)), ALL);
    assert.deepEqual(problems, []);
    assert.ok(changes > 0);
    await expect(subject, DUAL);
    assert.deepEqual(await links.apply(planLinks(givenOf(DUAL)), ALL), { changes: 0, problems: [] });
    assert.deepEqual(await links.repair(), { changes: 0, problems: [] });
    assert.deepEqual([...links.broken], []);
  },

  "a restart finds what an earlier life of the daemon left, and changes nothing": async (subject) => {
    await withBridges(subject);
    await open(subject).apply(planLinks(givenOf(DUAL)), ALL);
    assert.deepEqual(await open(subject).apply(planLinks(givenOf(DUAL)), ALL), { changes: 0, problems: [] });
  },

  "a host that goes takes what led to it, and nothing else": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    const smaller = { ...DUAL, hosts: [1, 3] };
    const { problems } = await links.apply(planLinks(givenOf(smaller)), ALL);
    assert.deepEqual(problems, []);
    await expect(subject, smaller);
  },

  "a network that goes takes its device with it; the other one's stays": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    const { problems } = await links.apply(planLinks(givenOf({ networks: [DB] })), ALL);
    assert.deepEqual(problems, []);
    await expect(subject, { networks: [DB] });
  },

  "an incomplete picture adds, and takes nothing away": async (subject) => {
    await withBridges(subject);
    await open(subject).apply(planLinks(givenOf({ ...DUAL, hosts: [1, 2] })), ALL);
    const other = { ...DUAL, hosts: [1, 3] };
    const { problems } = await open(subject).apply(planLinks(givenOf(other)), { mayRemove: false });
    assert.deepEqual(problems, []);
    await expect(subject, DUAL);
  },

  "what somebody else took away is there again after a repair": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    await subject.around.removeDevice(vxlanDevice(4711));
    await subject.around.removeBridge("sk-db");
    await subject.around.addBridge("sk-db", "10.161.1.1");
    const { changes, problems } = await links.repair();
    assert.ok(changes > 0);
    assert.deepEqual(problems, []);
    await expect(subject, DUAL);
  },

  "packets to a host that moved go to its new address": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    const moved = { ...DUAL, said: { 2: { address: "172.31.0.77", mtu: 1400 } } };
    const { problems } = await links.apply(planLinks(givenOf(moved)), ALL);
    assert.deepEqual(problems, []);
    await expect(subject, moved);
  },

  "a host that itself moved makes its devices anew, with all that was on them": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    const moved = { ...DUAL, address: "172.31.0.88" };
    const { problems } = await links.apply(planLinks(givenOf(moved)), ALL);
    assert.deepEqual(problems, []);
    await expect(subject, moved);
  },

  "another size of the underlay's packets is taken over without making anything anew": async (subject) => {
    await withBridges(subject);
    const links = open(subject);
    await links.apply(planLinks(givenOf({ networks: [DB] })), ALL);
    const smaller = { networks: [DB], mtu: 1400 };
    assert.deepEqual(await links.apply(planLinks(givenOf(smaller)), ALL), { changes: 1, problems: [] });
    await expect(subject, smaller);
  },

  "a route of somebody else's stays, and that ours cannot be set is told": async (subject) => {
    await withBridges(subject);
    await subject.around.addForeignRoute("10.161.2.0/24");
    const links = open(subject);
    const { problems } = await links.apply(planLinks(givenOf(DUAL)), ALL);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? "", /route to 10\.161\.2\.0\/24 on sk-vx4712 cannot be added: .*exists/);
    assert.ok(await subject.around.hasForeignRoute("10.161.2.0/24"));
    await links.remove();
    assert.ok(await subject.around.hasForeignRoute("10.161.2.0/24"), "nor is it removed with ours");
  },

  "a network that cannot be made is told once, by name, and stops no other": async (subject) => {
    await withBridges(subject);
    await subject.around.addForeignVxlan(4711);
    const links = open(subject);
    const { problems } = await links.apply(planLinks(givenOf(DUAL)), ALL);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? "", /VXLAN device sk-vx4711 cannot be added: .*exists/);
    assert.deepEqual([...links.broken], ["app"]);
    const observed = await subject.kernel.observe();
    assert.ok(observed.some((thing) => thing.kind === "route" && thing.to === "10.161.3.0/24"));
  },

  "removal leaves all as it was before": async (subject) => {
    await withBridges(subject);
    const before = await subject.around.everything();
    const links = open(subject);
    await links.apply(planLinks(givenOf(DUAL)), ALL);
    assert.notDeepEqual(await subject.around.everything(), before);
    const { problems } = await open(subject).remove();
    assert.deepEqual(problems, []);
    assert.deepEqual(await subject.around.everything(), before);
    assert.deepEqual(await links.remove(), { changes: 0, problems: [] }, "once more, there is nothing");
  },
};
