/**
 * Wireguard: the part of the kernel's reconciliation that encrypts what crosses between hosts.
 *
 * It makes the device before the overlay's links are made over it, and takes it away after them. It fails closed by
 * itself: when the device vanishes, whoever has taken it, the links over it vanish too, and the routes that are left
 * lead nowhere.
 *
 * Touches: the kernel through device.ts; the key in the data dir.
 */

import { isDeepStrictEqual } from "node:util";

import type { Applied, KernelPart } from "../part.ts";

import { changesBetween, type Change } from "./changes.ts";
import { openDevice, type Ability, type Device } from "./device.ts";
import { openWireguardKey, type WireguardKey } from "./key.ts";
import type { WireguardDevice, WireguardPlan } from "./plan.ts";

/** What opening needs. */
export interface WireguardOptions {
  readonly dataDir: string;
  /** For tests. */
  readonly device?: Device;
}

const NOTHING: Applied = { changes: 0, problems: [] };

/** Opens the part, with the key that is in the data dir or a new one. Nothing of the kernel is touched yet. */
export async function openWireguard({ dataDir, device }: WireguardOptions): Promise<Wireguard> {
  return new Wireguard(device ?? (await openDevice()), await openWireguardKey(dataDir));
}

/**
 * The part where nothing is encrypted, or no daemon runs: takes away what an earlier life left. It needs no key, and so
 * makes none.
 *
 * @param given  for tests
 */
export async function openNoWireguard(given?: Device): Promise<KernelPart<null>> {
  const device = given ?? (await openDevice());
  let isGone = false;
  const remove = async (): Promise<Applied> => {
    const changes = (await device.remove()) ? 1 : 0;
    isGone = true;
    return { changes, problems: [] };
  };
  return {
    apply: async (_, { mayRemove }) => (mayRemove && !isGone ? await remove() : NOTHING),
    // None was left, and whoever made one since may have a use for it.
    repair: async () => NOTHING,
    remove,
  };
}

/** WireGuard on this host. */
export class Wireguard implements KernelPart<WireguardPlan> {
  readonly #device: Device;
  readonly #key: WireguardKey;
  readonly #toldByKey = new Map<string, string>();
  #ability: Ability | null = null;
  /** The plan that was last applied whole; null while there is none. */
  #applied: WireguardPlan | null = null;
  #mayRemove = false;

  constructor(device: Device, key: WireguardKey) {
    this.#device = device;
    this.#key = key;
  }

  /** What others are to know this host's packets by. */
  get publicKey(): string {
    return this.#key.publicKey;
  }

  /** Whether this host can encrypt. A no is looked into again each time: programs are installed meanwhile. */
  async ability(): Promise<Ability> {
    if (this.#ability?.works !== true) this.#ability = await this.#device.ability();
    return this.#ability;
  }

  async apply(desired: WireguardPlan, { mayRemove }: { readonly mayRemove: boolean }): Promise<Applied> {
    const isSame = isDeepStrictEqual(desired, this.#applied) && mayRemove === this.#mayRemove;
    if (isSame) return { changes: 0, problems: desired.problems };
    this.#mayRemove = mayRemove;
    return await this.#become(desired);
  }

  async repair(): Promise<Applied> {
    const desired = this.#applied;
    if (desired === null) return NOTHING;
    // Where none should be none was left, and whoever made one since may have a use for it.
    if (desired.device === null) return { changes: 0, problems: desired.problems };
    return await this.#become(desired);
  }

  async remove(): Promise<Applied> {
    this.#applied = null;
    this.#toldByKey.clear();
    return { changes: (await this.#device.remove()) ? 1 : 0, problems: [] };
  }

  async #become(desired: WireguardPlan): Promise<Applied> {
    // Forgotten first: what fails half-way must not pass for done.
    this.#applied = null;
    try {
      const changes = await this.#match(desired.device, this.#mayRemove);
      this.#applied = desired;
      return { changes, problems: desired.problems };
    } catch (thrown) {
      // A program or module may be gone that was there: what this host can do is looked into again.
      this.#ability = null;
      throw thrown;
    }
  }

  /** @returns how many changes it took */
  async #match(desired: WireguardDevice | null, mayRemove: boolean): Promise<number> {
    if (desired === null) {
      if (!mayRemove) return 0;
      this.#toldByKey.clear();
      return (await this.#device.remove()) ? 1 : 0;
    }
    let observed = await this.#device.observe();
    let made = 0;
    if (observed === null) {
      await this.#device.make(desired.port);
      this.#toldByKey.clear();
      made = 1;
      observed = { key: null, port: 0, mtu: 0, isUp: false, addresses: [], peers: [] };
    }
    const options = { key: this.publicKey, toldByKey: this.#toldByKey, mayRemove };
    const changes = changesBetween(observed, desired, options);
    if (changes.length > 0) await this.#device.change(changes, this.#key.path);
    this.#remember(changes, desired);
    return made + changes.length;
  }

  #remember(changes: readonly Change[], desired: WireguardDevice): void {
    for (const change of changes) if (change.kind === "forget") this.#toldByKey.delete(change.key);
    for (const { key, endpoint } of desired.peers) this.#toldByKey.set(key, endpoint);
  }
}
