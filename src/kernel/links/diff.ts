/**
 * Diff: the commands that turn the links that are there into those that should be.
 *
 * Devices are a step of their own, for whatever hangs on a device goes with it: what is made anew loses its entries and
 * routes, and what cannot be made needs none. Things that have a place of their own (a prefix in a table, a VTEP on a
 * device) are replaced in it, so that packets always find the one or the other; rules, which have none, are added
 * before the superfluous ones go.
 *
 * Pure.
 */

import { isDeepStrictEqual } from "node:util";

import type { LinkCommand, LinkState, LinkThing, VxlanDevice } from "./state.ts";

/** What is there and what should be. */
export interface LinkStates {
  readonly observed: LinkState;
  readonly desired: LinkState;
  /** False: nothing is taken away, only put right. */
  readonly mayRemove: boolean;
}

/** The place of a thing: of two things in one place only one can be. */
export function placeOf(thing: LinkThing): string {
  switch (thing.kind) {
    case "device":
      return `device ${thing.name}`;
    case "address":
      return `address ${thing.device} ${thing.address}`;
    case "entry":
      return `entry ${thing.device} ${thing.mac}`;
    case "neighbour":
      return `neighbour ${thing.device} ${thing.address}`;
    case "route":
      return `route ${thing.to} ${thing.table ?? "main"} ${thing.metric}`;
    case "rule": {
      const { family, preference, inverts, mark, device, action } = thing;
      return `rule ${JSON.stringify([family, preference, inverts, mark?.value, mark?.mask, device, action])}`;
    }
  }
}

/** The commands for the devices; those of one that has to be made anew are two. */
export function diffDevices(states: LinkStates): readonly LinkCommand[] {
  const commands = diff({
    ...states,
    observed: states.observed.filter(({ kind }) => kind === "device"),
    desired: states.desired.filter(({ kind }) => kind === "device"),
  });
  const observed = devicesOf(states.observed);
  return commands.flatMap((command): readonly LinkCommand[] => {
    const { verb, thing } = command;
    const old = verb === "replace" && thing.kind === "device" ? observed.get(thing.name) : undefined;
    if (old === undefined || thing.kind !== "device" || isAlterable(old, thing)) return [command];
    return [
      { verb: "remove", thing: old },
      { verb: "add", thing },
    ];
  });
}

/**
 * The commands for all the rest, once the devices are as they are.
 *
 * @param lost  names of devices that were taken away or made anew: what was on them is gone with them
 * @param missing  names of devices that could not be made: nothing can be put on them
 */
export function diffRest(
  states: LinkStates,
  { lost, missing }: { readonly lost: ReadonlySet<string>; readonly missing: ReadonlySet<string> },
): readonly LinkCommand[] {
  return diff({
    ...states,
    observed: states.observed.filter((thing) => thing.kind !== "device" && !isOn(thing, lost)),
    desired: states.desired.filter((thing) => thing.kind !== "device" && !isOn(thing, missing)),
  });
}

function diff({ observed, desired, mayRemove }: LinkStates): readonly LinkCommand[] {
  const there = new Map(observed.map((thing) => [placeOf(thing), thing]));
  const wanted = new Set<string>();
  const puts: LinkCommand[] = [];
  for (const thing of desired) {
    const place = placeOf(thing);
    wanted.add(place);
    const old = there.get(place);
    if (old === undefined) puts.push({ verb: "add", thing });
    else if (!isDeepStrictEqual(old, thing)) puts.push({ verb: "replace", thing });
  }
  const removals = [...there.entries()]
    .filter(([place]) => mayRemove && !wanted.has(place))
    .map(([, thing]): LinkCommand => ({ verb: "remove", thing }));
  return [...puts, ...removals].sort((one, other) => rankOf(one) - rankOf(other));
}

/**
 * In which order commands are given. A jump needs its end to be there, so the last rules come first and go last; and a
 * rule comes after the routes it leads to, and goes before them.
 */
function rankOf({ verb, thing }: LinkCommand): number {
  const isRemoval = verb === "remove";
  if (thing.kind === "rule") return isRemoval ? 300_000 + thing.preference : 200_000 - thing.preference;
  const order = ["device", "address", "entry", "neighbour", "route"].indexOf(thing.kind);
  return isRemoval ? 500_000 - order : order;
}

/** Whether a device can be changed in place. Not its own address: a new one costs it its neighbours. */
function isAlterable(old: VxlanDevice, wanted: VxlanDevice): boolean {
  const { mtu, isUp } = wanted;
  return isDeepStrictEqual({ ...old, mtu, isUp }, wanted);
}

function isOn(thing: LinkThing, devices: ReadonlySet<string>): boolean {
  // A rule names a bridge, and waits for it where it is not there.
  return thing.kind !== "rule" && thing.kind !== "device" && devices.has(thing.device ?? "");
}

function devicesOf(state: LinkState): ReadonlyMap<string, VxlanDevice> {
  return new Map(state.flatMap((thing) => (thing.kind === "device" ? [[thing.name, thing]] : [])));
}
