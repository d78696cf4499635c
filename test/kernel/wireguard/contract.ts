// What WireGuard as a part of the kernel's reconciliation keeps to, with any device: a fake one and this kernel's.

import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import type { Device } from "../../../src/kernel/wireguard/device.ts";
import type { WireguardPlan } from "../../../src/kernel/wireguard/plan.ts";
import { openNoWireguard, openWireguard, type Wireguard } from "../../../src/kernel/wireguard/wireguard.ts";
import { keyOf } from "./cluster.ts";

/** What the contract is tried on. */
export interface Subject {
  readonly dataDir: string;
  readonly device: Device;
}

const MAY = { mayRemove: true };

function planOf(hosts: readonly number[], over: Partial<WireguardPlan> = {}): WireguardPlan {
  const peers = hosts.map((host) => {
    return { key: keyOf(host), endpoint: `192.0.2.${host}:51820`, allowed: [`10.160.${host}.0/32`] };
  });
  const device = { port: 51_820, mtu: 1420, addresses: ["10.160.1.0/32"], peers };
  return { device, problems: [], ...over };
}

const open = ({ dataDir, device }: Subject): Promise<Wireguard> => openWireguard({ dataDir, device });

/** Each promise, by its sentence. Every one begins and ends without a device. */
export const CONTRACT: Readonly<Record<string, (subject: Subject) => Promise<void>>> = {
  async "a plan is there once it is applied, and applying it again changes nothing"(subject) {
    const part = await open(subject);
    const { device } = planOf([2, 3]);
    assert.ok((await part.apply(planOf([2, 3]), MAY)).changes > 0);
    const found = await subject.device.observe();
    assert.deepEqual(
      { ...found, peers: sorted(found?.peers ?? []) },
      {
        ...device,
        key: part.publicKey,
        isUp: true,
        peers: sorted(device?.peers ?? []),
      },
    );
    assert.deepEqual(await part.apply(planOf([2, 3]), MAY), { changes: 0, problems: [] });
    assert.deepEqual(await part.repair(), { changes: 0, problems: [] });
    await part.remove();
  },

  async "the next daemon finds what this one left, and changes nothing that need not change"(subject) {
    await (await open(subject)).apply(planOf([2, 3]), MAY);
    const next = await open(subject);
    assert.deepEqual(await next.apply(planOf([2, 3]), MAY), { changes: 0, problems: [] });
    assert.equal((await next.apply(planOf([2, 3, 4]), MAY)).changes, 1);
    await next.remove();
  },

  async "what is not in the plan any more goes, though not while the picture is incomplete"(subject) {
    const part = await open(subject);
    await part.apply(planOf([2, 3]), MAY);
    await part.apply(planOf([2]), { mayRemove: false });
    assert.equal((await subject.device.observe())?.peers.length, 2);
    await part.apply(planOf([], { device: null }), { mayRemove: false });
    assert.notEqual(await subject.device.observe(), null);
    await part.apply(planOf([2]), MAY);
    assert.equal((await subject.device.observe())?.peers.length, 1);
    await part.apply(planOf([], { device: null }), MAY);
    assert.equal(await subject.device.observe(), null);
  },

  async "a repair brings back what somebody took away: a peer, an address, the device"(subject) {
    const part = await open(subject);
    await part.apply(planOf([2, 3]), MAY);
    const changes = [
      { kind: "forget", key: keyOf(2) },
      { kind: "drop-address", address: "10.160.1.0/32" },
    ] as const;
    await subject.device.change(changes, "");
    assert.equal((await part.repair()).changes, 2);
    await subject.device.remove();
    assert.ok((await part.repair()).changes > 0);
    const found = await subject.device.observe();
    assert.deepEqual([found?.peers.length, found?.addresses], [2, ["10.160.1.0/32"]]);
    await part.remove();
  },

  async "what an earlier life left goes without a key: none is made for it"(subject) {
    await (await open(subject)).apply(planOf([2]), MAY);
    await rm(join(subject.dataDir, "wireguard.key"));
    const none = await openNoWireguard(subject.device);
    assert.deepEqual(await none.apply(null, { mayRemove: false }), { changes: 0, problems: [] });
    assert.notEqual(await subject.device.observe(), null, "not while the picture is incomplete");
    assert.deepEqual(await none.apply(null, MAY), { changes: 1, problems: [] });
    assert.equal(await subject.device.observe(), null);
    assert.deepEqual(await none.apply(null, MAY), { changes: 0, problems: [] });
    await (await open(subject)).apply(planOf([2]), MAY);
    await rm(join(subject.dataDir, "wireguard.key"));
    assert.deepEqual(await (await openNoWireguard(subject.device)).remove(), { changes: 1, problems: [] });
    assert.deepEqual(await readdir(subject.dataDir), []);
  },

  async "removing leaves nothing, and nothing to remove is no error"(subject) {
    const part = await open(subject);
    await part.apply(planOf([2]), MAY);
    assert.deepEqual(await part.remove(), { changes: 1, problems: [] });
    assert.equal(await subject.device.observe(), null);
    assert.deepEqual(await part.remove(), { changes: 0, problems: [] });
    assert.deepEqual(await part.repair(), { changes: 0, problems: [] }, "what was removed is not repaired");
  },
};

function sorted<T extends { readonly key: string }>(peers: readonly T[]): readonly T[] {
  return [...peers].sort((one, other) => (one.key < other.key ? -1 : 1));
}
