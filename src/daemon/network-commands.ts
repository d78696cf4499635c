/**
 * Network commands: overlay networks made and removed, as far as a manager may.
 *
 * A decision is checked against the newest view (what every member's routing table leads to, who is on a network), is
 * put into the charter by trust and fed to the node, which spreads it. Everything else follows from the view on each
 * host: slices, bridges, links.
 *
 * Touches: the data dir, through trust.
 */

import type { Commands, NetworkWish } from "../admin/changes.ts";
import type { NetworkRemoval, NetworkResult } from "../admin/contract-network.ts";
import { missingNetwork, namedNetworks, usersOf } from "../admin/networks.ts";
import { Failure } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import type { LocalClient } from "../model/endpoint.ts";
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
}

/** Those who use a network, named in a refusal. */
const USERS_TOLD = 10;

/** Makes the commands. */
export function networkCommands({
  desk,
  overlayPool,
  pool,
  clients,
}: NetworkDesk): Pick<Commands, "createNetwork" | "removeNetwork"> {
  const decide = async (decisions: ReturnType<typeof decisionsFor>): Promise<void> => {
    desk.feed({ kind: "charter", charter: desk.credentials.decideNetworks(decisions) });
    await desk.credentials.saved();
  };
  return {
    async createNetwork(wish: NetworkWish): Promise<NetworkResult> {
      expectManager(desk, "making a network");
      const { charter, clusterId } = desk.credentials;
      const view = desk.view();
      const foreign = namedNetworks(view);
      const planned = planNetwork(wish, { charter, overlayPool, pool, members: view.members, foreign });
      if (!planned.ok) throw planned.failure;
      const { definition, decisions } = planned.value;
      if (decisions.length > 0) await decide(decisions);
      const { range, range6 = null, sliceBits, vni, encrypted } = rangeOf(wish.name, definition, clusterId);
      const slices = { total: 2 ** (sliceBits - range.bits), bits: sliceBits };
      const made = { name: wish.name, range: range.text, range6, encrypted, slices, vni };
      return { ...made, created: decisions.length > 0 };
    },
    async removeNetwork(name: string, force: boolean): Promise<NetworkRemoval> {
      expectManager(desk, "removing a network");
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

function missingOf(view: Parameters<typeof missingNetwork>[0], name: string): Failure {
  const missing = missingNetwork(view, name);
  return missing.ok ? new Failure("not-found", `no network "${name}"`) : missing.failure;
}

function inUse(name: string, users: readonly string[]): Failure {
  const more = users.length > USERS_TOLD ? ` and ${users.length - USERS_TOLD} more` : "";
  const named = `${users.slice(0, USERS_TOLD).join(", ")}${more}`;
  return new Failure("busy", `network "${name}" is in use by ${named}; stop them first, or use --force`);
}
