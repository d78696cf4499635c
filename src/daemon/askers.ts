/**
 * Askers: who stands behind an address that asks for names?
 *
 * A container of this host sees its networks; whoever else asks sees what a process of the host sees. Which of the two
 * an address is, is known and not guessed: one in a range of an engine's bridge networks that no known container has is
 * that of a container which the engine is about to tell of, and until the engine has told at all, any address that is
 * not the host's own may be. Such a stranger is shown nothing yet.
 *
 * An address of an overlay network that is not of this host's own slice is a container's of another host: it sees that
 * network, and nothing else of this host's.
 *
 * An engine that does not answer at the start must not keep the names of the cluster from other hosts: then only the
 * networks of Docker's own bridges are strangers', by the names that it gives them.
 *
 * Touches: the host's interfaces.
 */

import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";

import { isIpv6, isLoopback } from "../base/ip.ts";
import type { Discoveries } from "../catalog/discoveries.ts";
import type { Asker, Stranger } from "../dns/names/lookup.ts";
import type { Network } from "../model/network.ts";
import { nowMs } from "../runtime/clock.ts";
import type { EngineNetworks } from "../source/docker/engine-networks.ts";

/** How old what is known of interfaces may be: a network's is there long before its first container asks. */
const INTERFACES_MS = 100;

/** How Docker calls interfaces of bridge networks unless it is told a name (moby: `br-` and 12 digits of the id). */
const DOCKER_BRIDGE = /^(?:docker0|br-[0-9a-f]{12})$/;

const HOST: Asker = { kind: "host" };
const STRANGER: Stranger = { kind: "unknown", isolated: false };
/** It may be on internal networks only: no moment is too short for a leak. */
const SEALED_STRANGER: Stranger = { kind: "unknown", isolated: true };

/** What the host's interfaces tell. */
interface Interfaces {
  readonly own: ReadonlySet<string>;
  readonly dockerRanges: BlockList;
}

/** What is to be known of an overlay network. */
type Overlay = Pick<Network, "name" | "range" | "range6">;

interface OverlayRange {
  readonly name: string;
  readonly range: string;
  readonly addresses: BlockList;
}

/** Tells who asks. */
export class Askers {
  readonly #found: Pick<Discoveries, "clientAt" | "standing">;
  readonly #read: typeof networkInterfaces;
  #ranges = new BlockList();
  #internalRanges = new BlockList();
  #gateways: ReadonlySet<string> = new Set();
  #overlays: readonly OverlayRange[] = [];
  #interfaces: Interfaces | null = null;
  #readAtMs = 0;

  /** @param read  what the host's interfaces are; the system's unless told otherwise */
  constructor(found: Pick<Discoveries, "clientAt" | "standing">, read = networkInterfaces) {
    this.#found = found;
    this.#read = read;
  }

  /** Takes the networks of the engine. */
  networksAre({ bridgeRanges, internalRanges, gateways }: EngineNetworks): void {
    this.#ranges = rangesOf(bridgeRanges);
    this.#internalRanges = rangesOf(internalRanges);
    this.#gateways = new Set(gateways);
  }

  /** Takes the overlay networks of the view; the same ones again cost nothing. */
  overlaysAre(networks: readonly Overlay[]): void {
    const isSame = networks.every(({ name, range }, index) => {
      const kept = this.#overlays[index];
      return kept?.name === name && kept.range === range;
    });
    if (isSame && networks.length === this.#overlays.length) return;
    this.#overlays = networks.map(({ name, range, range6 }) => {
      return { name, range, addresses: rangesOf(range6 === undefined ? [range] : [range, range6]) };
    });
  }

  /** Who has an address; IPv4 never in its IPv6 form. */
  askerOf(address: string): Asker | Stranger {
    const client = this.#found.clientAt(address);
    if (client !== null) {
      const { networks, isolated } = client;
      return { kind: "container", networks, isolated };
    }
    const [plain = "", scope = ""] = address.split("%");
    if (isIn(this.#ranges, plain)) {
      if (this.#isOwn(plain)) return HOST;
      return isIn(this.#internalRanges, plain) ? SEALED_STRANGER : STRANGER;
    }
    const overlay = this.#overlays.find(({ addresses }) => isIn(addresses, plain));
    if (overlay !== undefined && !this.#isOwn(plain)) {
      return { kind: "container", networks: [overlay.name], isolated: false };
    }
    const standing = this.#found.standing("docker");
    if (standing === "none" || isLoopback(plain)) return HOST;
    if (DOCKER_BRIDGE.test(scope)) return SEALED_STRANGER;
    const isAwaited = standing === "awaited" || isIn(this.#interfacesNow().dockerRanges, plain);
    return isAwaited && !this.#isOwn(plain) ? SEALED_STRANGER : HOST;
  }

  #isOwn(address: string): boolean {
    return this.#gateways.has(address) || this.#interfacesNow().own.has(address);
  }

  #interfacesNow(): Interfaces {
    const atMs = nowMs();
    if (this.#interfaces === null || atMs - this.#readAtMs > INTERFACES_MS) {
      this.#readAtMs = atMs;
      this.#interfaces = readInterfaces(this.#read());
    }
    return this.#interfaces;
  }
}

function readInterfaces(byName: ReturnType<typeof networkInterfaces>): Interfaces {
  const all = Object.entries(byName).flatMap(([name, places = []]) =>
    places.map(({ address, cidr }) => ({ name, address, cidr })),
  );
  const ofDocker = all.filter(({ name }) => DOCKER_BRIDGE.test(name)).flatMap(({ cidr }) => cidr ?? []);
  return { own: new Set(all.map(({ address }) => address)), dockerRanges: rangesOf(ofDocker) };
}

function rangesOf(prefixes: readonly string[]): BlockList {
  const ranges = new BlockList();
  for (const prefix of prefixes) {
    const [address = "", bits] = prefix.split("/");
    ranges.addSubnet(address, Number(bits), isIpv6(address) ? "ipv6" : "ipv4");
  }
  return ranges;
}

function isIn(ranges: BlockList, address: string): boolean {
  return ranges.check(address, isIpv6(address) ? "ipv6" : "ipv4");
}
