/**
 * Words: a command on a link as it is told to people when the kernel refuses it.
 *
 * Pure.
 */

import type { LinkCommand, LinkThing, Rule } from "./state.ts";

/** What was to be done: `route 10.160.4.0/24 on sk-vx4711 cannot be added`. */
export function describeThing({ verb, thing }: LinkCommand): string {
  const done = { add: "added", replace: "changed", remove: "taken away" }[verb];
  return `${nounOf(thing)} cannot be ${done}`;
}

function nounOf(thing: LinkThing): string {
  switch (thing.kind) {
    case "device":
      return `VXLAN device ${thing.name}`;
    case "address":
      return `address ${thing.address} on ${thing.device}`;
    case "entry":
      return `forwarding entry for ${thing.to} on ${thing.device}`;
    case "neighbour":
      return `neighbour ${thing.address} on ${thing.device}`;
    case "route":
      return thing.leads
        ? `route to ${thing.to} on ${thing.device ?? "no device"}`
        : `refusal of ${thing.to}`;
    case "rule":
      return ruleNoun(thing);
  }
}

function ruleNoun({ preference, device, family }: Rule): string {
  return `IPv${family} routing rule ${preference}${device === null ? "" : ` for ${device}`}`;
}
