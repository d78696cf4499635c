// A WireGuard device in memory, which does what the kernel's does: an address goes to the peer that got it last.

import { isDeepStrictEqual } from "node:util";

import type { Change, Observed } from "../../../src/kernel/wireguard/changes.ts";
import type { Ability, Device } from "../../../src/kernel/wireguard/device.ts";

/** What a device is after some changes. @param key  the public half of the key that the changes tell it */
export function carriedOut(observed: Observed, changes: readonly Change[], key: string): Observed {
  return changes.reduce((before, change) => afterOne(before, change, key), observed);
}

function afterOne(before: Observed, change: Change, key: string): Observed {
  switch (change.kind) {
    case "identity":
      return { ...before, key, port: change.port };
    case "forget":
      return { ...before, peers: before.peers.filter((peer) => peer.key !== change.key) };
    case "peer": {
      const { peer } = change;
      const others = before.peers
        .filter((one) => one.key !== peer.key)
        .map((one) => ({
          ...one,
          allowed: one.allowed.filter((address) => !peer.allowed.includes(address)),
        }));
      return { ...before, peers: [...others, peer] };
    }
    case "drop-address":
      return { ...before, addresses: before.addresses.filter((address) => address !== change.address) };
    case "add-address":
      return { ...before, addresses: [...before.addresses, change.address] };
    case "mtu":
      return { ...before, mtu: change.mtu };
    case "up":
      return { ...before, isUp: true };
  }
}

/** The device of a fake kernel. */
export class FakeDevice implements Device {
  readonly #key: string;
  #there: Observed | null = null;
  can: Ability = { works: true, way: "kernel", reason: "WireGuard of the kernel" };
  /** How often it was made, and changed. */
  made = 0;
  changed = 0;

  /** @param key  the public half of the key in the file that it will be told */
  constructor(key: string) {
    this.#key = key;
  }

  async ability(): Promise<Ability> {
    return this.can;
  }

  async observe(): Promise<Observed | null> {
    return this.#there;
  }

  async make(): Promise<void> {
    this.made += 1;
    this.#there = { key: null, port: 0, mtu: 1420, isUp: false, addresses: [], peers: [] };
  }

  async change(changes: readonly Change[]): Promise<void> {
    if (this.#there === null) throw new Error("a change of no device");
    this.changed += 1;
    const after = carriedOut(this.#there, changes, this.#key);
    if (isDeepStrictEqual(after, this.#there)) throw new Error("a change that changes nothing");
    this.#there = after;
  }

  async remove(): Promise<boolean> {
    const wasThere = this.#there !== null;
    this.#there = null;
    return wasThere;
  }
}
