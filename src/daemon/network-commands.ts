/**
 * Network commands: overlay networks made and removed, as far as a manager may.
 *
 * A decision is checked against the newest view (what every member's routing table leads to, who is on a network), is
 * put into the charter by trust and fed to the node, which spreads it. Everything else follows from the view on each
 * host: slices, bridges, links.
 *
 * Touches: the data dir, through trust; timers.
 */

import { setTimeout as delay } from "node:timers/promises";

import type { Commands, NetworkWish } from "../admin/changes.ts";
import type { NetworkRemoval, NetworkResult } from "../admin/contract-network.ts";
import { missingNetwork, namedNetworks, usersOf } from "../admin/networks.ts";
import { Failure } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import type { LocalClient } from "../model/endpoint.ts";
import type { View } from "../model/view.ts";
import { nowMs } from "../runtime/clock.ts";
import { planNetwork } from "../trust/network-plan.ts";
import { decisionsFor, rangeOf } from "../trust/networks.ts";

import { expectManager, type TrustParts } from "./trust-commands.ts";

/** What the commands work with. */
export interface NetworkDesk {
  readonly desk: Pick<TrustParts, "credentials" | "view" | "feed">;
  /** What ranges of networks are taken from, and the VIPs' own. */
  readonly overlayPool: Prefix;
  readonly pool: Prefix;
  /** Containers of this host. */
  readonly clients: () => readonly LocalClient[];
  /** Networks with a bridge on this host; null where it makes none (another mode than kernel, no Docker). */
  readonly bridged: () => ReadonlySet<string> | null;
}

/** So long a new network is waited for: its slice takes up to half a second, Docker about as long for the bridge. */
const READY_WITHIN_MS = 4000;
/** A view is complete by then, with the other members or without. */
const COMPLETE_WITHIN_MS = 6000;
const LOOK_EVERY_MS = 25;

/** Those who use a network, named in a refusal. */
const USERS_TOLD = 10;

/** Makes the commands. */
export function networkCommands({
  desk,
  overlayPool,
  pool,
  clients,
  bridged,
}: NetworkDesk): Pick<Commands, "createNetwork" | "removeNetwork"> {
  const decide = async (decisions: ReturnType<typeof decisionsFor>): Promise<void> => {
    desk.feed({ kind: "charter", charter: desk.credentials.decideNetworks(decisions) });
    await desk.credentials.saved();
  };
  return {
    async createNetwork(wish: NetworkWish): Promise<NetworkResult> {
      expectManager(desk, "making a network");
      await expectComplete(desk.view);
      const { charter, clusterId } = desk.credentials;
      const view = desk.view();
      const foreign = namedNetworks(view);
      const planned = planNetwork(wish, { charter, overlayPool, pool, members: view.members, foreign });
      if (!planned.ok) throw planned.failure;
      const { definition, decisions } = planned.value;
      if (decisions.length > 0) await decide(decisions);
      const { range, range6 = null, sliceBits, vni, encrypted } = rangeOf(wish.name, definition, clusterId);
      const ready = await isReady(wish.name, desk.view, bridged);
      const slices = { total: 2 ** (sliceBits - range.bits), bits: sliceBits };
      const made = { name: wish.name, range: range.text, range6, encrypted, slices, vni };
      return { ...made, created: decisions.length > 0, ready };
    },
    async removeNetwork(name: string, force: boolean): Promise<NetworkRemoval> {
      expectManager(desk, "removing a network");
      // Before that nobody knows who is on it.
      await expectComplete(desk.view);
      const { charter } = desk.credentials;
      const view = desk.view();
      const known = charter.networks.find((decision) => decision.name === name);
      if ((known?.definition ?? null) === null) {
        if (!view.services.some(({ network }) => network === name)) throw missingOf(view, name);
        const why = `network "${name}" is only a name that services use`;
        throw new Failure("invalid", `${why}; it is gone when they are: expected an overlay network`);
      }
      const users = usersOf(view, name, clients());
      if (users.length > 0 && !force) throw inUse(name, users);
      await decide(decisionsFor(charter.networks, name, null));
      return { name, users };
    },
  };
}

/** Before that others' routes and networks are not known, and a range would be chosen blindly. @throws Failure */
async function expectComplete(view: () => View): Promise<void> {
  if (await becomes(() => view().complete, COMPLETE_WITHIN_MS)) return;
  throw new Failure("unreachable", "view is not complete; expected the first full exchange with a member");
}

/** Waits until containers of this host can be on a network: whoever made it starts them next. */
function isReady(name: string, view: () => View, bridged: NetworkDesk["bridged"]): Promise<boolean> {
  return becomes(() => {
    const { networks, self } = view();
    const slices = networks.find((network) => network.name === name)?.slices ?? [];
    const isSettled = slices.some(({ node, tentative }) => node === self && !tentative);
    return isSettled && bridged()?.has(name) !== false;
  }, READY_WITHIN_MS);
}

/** Waits until something holds. @returns false when it did not in time */
async function becomes(holds: () => boolean, withinMs: number): Promise<boolean> {
  for (const deadlineMs = nowMs() + withinMs; nowMs() < deadlineMs;) {
    if (holds()) return true;
    await delay(LOOK_EVERY_MS);
  }
  return holds();
}

function missingOf(view: Parameters<typeof missingNetwork>[0], name: string): Failure {
  const missing = missingNetwork(view, name);
  return missing.ok ? new Failure("not-found", `no network "${name}"`) : missing.failure;
}

function inUse(name: string, users: readonly string[]): Failure {
  const more = users.length > USERS_TOLD ? ` and ${users.length - USERS_TOLD} more` : "";
  const named = `${users.slice(0, USERS_TOLD).join(", ")}${more}`;
  return new Failure("busy", `network "${name}" is in use by ${named}; stop them first, or use --force`);
}
