// A kernel for links that is none: it refuses and forgets what Linux refuses and forgets.

import { isDeepStrictEqual } from "node:util";

import { placeOf } from "../../../src/kernel/links/diff.ts";
import type { LinkCommand, LinkKernel, LinkThing, Refusal } from "../../../src/kernel/links/state.ts";
import type { Around } from "./contract.ts";

export class FakeKernel implements LinkKernel, Around {
  readonly #things = new Map<string, LinkThing>();
  readonly #gatewayByBridge = new Map<string, string>();
  readonly #foreign = new Set<string>();
  /** Numbers of VXLAN devices that are not ours. */
  readonly #foreignVnis = new Set<number>();
  executed = 0;

  async observe(): Promise<readonly LinkThing[]> {
    return [...this.#things.values()];
  }

  async execute(commands: readonly LinkCommand[]): Promise<readonly Refusal[]> {
    this.executed += commands.length;
    return commands.flatMap((command) => {
      const text = this.#follow(command);
      return text === null ? [] : [{ command, text }];
    });
  }

  async addBridge(name: string, gateway: string): Promise<void> {
    this.#gatewayByBridge.set(name, gateway);
  }

  async removeBridge(name: string): Promise<void> {
    const gateway = this.#gatewayByBridge.get(name);
    this.#gatewayByBridge.delete(name);
    this.#forget((thing) => thing.kind === "route" && thing.source !== null && thing.source === gateway);
  }

  async removeDevice(name: string): Promise<void> {
    this.#things.delete(`device ${name}`);
    this.#forget((thing) => thing.kind !== "rule" && thing.kind !== "device" && thing.device === name);
  }

  async addForeignRoute(to: string): Promise<void> {
    this.#foreign.add(`route ${to} main 0`);
  }

  async hasForeignRoute(to: string): Promise<boolean> {
    return this.#foreign.has(`route ${to} main 0`);
  }

  async addForeignVxlan(vni: number): Promise<void> {
    this.#foreignVnis.add(vni);
  }

  async everything(): Promise<readonly string[]> {
    return [...this.#things.keys(), ...this.#gatewayByBridge.keys(), ...this.#foreign].sort();
  }

  /** What Linux says when it refuses; null when it does as it was told. */
  #follow({ verb, thing }: LinkCommand): string | null {
    const place = placeOf(thing);
    if (verb === "remove") {
      if (thing.kind === "device") void this.removeDevice(thing.name);
      this.#things.delete(place);
      return null;
    }
    const wrong = this.#refusal(thing);
    const isTaken = verb === "add" && thing.kind !== "entry" && thing.kind !== "neighbour";
    if (isTaken && (this.#things.has(place) || this.#foreign.has(place))) return "File exists";
    if (wrong === null) this.#things.set(place, thing);
    return wrong;
  }

  #refusal(thing: LinkThing): string | null {
    if (thing.kind === "rule") return null;
    if (thing.kind === "device") {
      const old = this.#things.get(placeOf(thing));
      const isSame = old === undefined || isDeepStrictEqual({ ...old, mtu: 0 }, { ...thing, mtu: 0 });
      if (!isSame) return "changing it is not supported";
      return this.#foreignVnis.has(thing.vni) ? "A VXLAN device with the specified VNI already exists" : null;
    }
    const isOn = thing.device === null || this.#things.has(`device ${thing.device}`);
    if (!isOn) return `Cannot find device "${thing.device}"`;
    if (thing.kind !== "route" || thing.source === null) return null;
    return [...this.#gatewayByBridge.values()].includes(thing.source) ? null : "Invalid argument";
  }

  #forget(isGone: (thing: LinkThing) => boolean): void {
    for (const [place, thing] of this.#things) if (isGone(thing)) this.#things.delete(place);
  }
}
