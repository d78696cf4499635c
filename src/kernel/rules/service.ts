/**
 * Service: the chains and elements of one service.
 *
 * A chain per service port and family: first, of so many connections the share that belongs to doubtful upstreams goes
 * back, and so arrives at the proxy's listener; then DNAT to each of the others in turn, or by the client's address.
 * Who goes back is decided by turns as well, so healthy ones get exactly their shares. VIPs and published ports lead to
 * the chain. A port that the kernel does not take has no chain, and all of it arrives at the proxy.
 *
 * Pure. What it made of a service stands as long as the service and its surroundings are the same (plan.ts).
 */

import { Failure } from "../../base/failure.ts";
import { contains, isIpv6, isLoopback } from "../../base/ip.ts";
import { contains6 } from "../../base/ip6.ts";
import { transportOf, type PublishedPort, type ServicePort } from "../../model/service.ts";
import type { Service } from "../../model/view.ts";

import { checkChain, checkElement } from "./check.ts";
import {
  chain,
  digestOf,
  endpointKey,
  MARK_LED,
  type Chain,
  type Element,
  type Endpoint,
} from "./ruleset.ts";
import { bucketsOf, inTurn, sharesOf } from "./slots.ts";
import {
  candidates,
  isForKernel,
  keepsFlows,
  rampEndMs,
  upstreamsOf,
  wantsProxy,
  type Surroundings,
  type Upstream,
} from "./upstreams.ts";
import {
  addressWord,
  chainWord,
  counterWord,
  markWord,
  networkWord,
  portWord,
  protocolWord,
  type Family,
} from "./words.ts";

/** What the rules of a service are made of beside the service. */
export interface ServiceGiven {
  readonly around: Surroundings;
  readonly ejected: ReadonlySet<string>;
  /** Published ports that may be taken over, `8080/tcp`, and in which families. */
  readonly listening: ReadonlySet<string>;
  readonly publishes: Readonly<Record<Family, boolean>>;
  readonly self: string;
  readonly nowMs: number;
}

/** What one service adds to the ruleset. */
export interface ServicePlan {
  readonly service: Service;
  readonly chains: readonly Chain[];
  readonly elements: readonly Element[];
  /** Names of chains that it has not, though it has upstreams: the proxy serves them. */
  readonly left: readonly string[];
  readonly endpoints: readonly (readonly [string, Endpoint])[];
  readonly problems: readonly string[];
  /** Ids of its upstreams, and those of them that were doubtful. */
  readonly ids: readonly string[];
  readonly doubtful: ReadonlySet<string>;
  readonly againAtMs: number | null;
}

/** More upstreams than that are the proxy's: a rule of so many slots is slow to change. */
const UPSTREAMS_MAX = 1024;

/** A constant seed: clients are to find the same replica through every host. */
const HASH_SEED = "0x736b656e";

/** As many of a replica's own slots are told one by one. */
const FEW = 4;

const FAMILIES: readonly Family[] = ["ip", "ip6"];

/** Plans one service; what cannot be written of it is left out whole, and told. */
export function planService(service: Service, given: ServiceGiven): ServicePlan {
  const planning = new Planning(service, given);
  const problem = planning.run();
  const { ids, doubtful, left, againAtMs } = planning;
  const known = { service, ids: [...ids], doubtful, left, againAtMs };
  if (problem !== null) {
    const problems = [`service ${service.key} is left to the proxy: ${problem}`];
    return { ...known, chains: [], elements: [], endpoints: [], problems };
  }
  const { chains, elements, endpoints } = planning;
  return { ...known, chains, elements, endpoints: [...endpoints], problems: [] };
}

/** One service being planned. */
class Planning {
  readonly chains: Chain[] = [];
  readonly elements: Element[] = [];
  readonly left: string[] = [];
  readonly endpoints = new Map<string, Endpoint>();
  readonly ids = new Set<string>();
  readonly doubtful = new Set<string>();
  againAtMs: number | null = null;
  readonly #service: Service;
  readonly #given: ServiceGiven;
  /** The chain of a service port by its name; null where the kernel does not take it. */
  readonly #chainByName = new Map<string, string | null>();

  constructor(service: Service, given: ServiceGiven) {
    this.#service = service;
    this.#given = given;
  }

  /** Plans all of it. @returns what cannot be written, in words; null for nothing */
  run(): string | null {
    try {
      this.#planOwner();
      for (const port of this.#service.ports) this.#planVips(port);
      for (const published of this.#service.publish) this.#planPublished(published);
    } catch (thrown) {
      // A word of nobody's form (words.ts).
      if (thrown instanceof Failure) return thrown.message;
      throw thrown;
    }
    const wrong = [...this.chains.map(checkChain), ...this.elements.map(checkElement)];
    return wrong.find((text) => text !== null) ?? null;
  }

  /** Who may use the VIPs of an overlay network's service is told by a chain of the network. */
  #planOwner(): void {
    const { network } = this.#service;
    if (!this.#given.around.networkByName.has(network)) return;
    const value = `jump ${seeChain(network)}`;
    for (const [family, address] of this.#vips())
      this.elements.push({ set: family === "ip" ? "owners" : "owners6", key: address, value });
  }

  #planVips(port: ServicePort): void {
    const transport = transportOf(port.protocol);
    for (const [family, address] of this.#vips()) {
      const name = this.#chainOf(port, family, "all");
      const set = family === "ip" ? "vips" : "vips6";
      const key = `${address} . ${protocolWord(transport)} . ${portWord(port.port)}`;
      if (name !== null) this.elements.push({ set, key, value: `jump ${name}` });
    }
  }

  #planPublished({ published, port, protocol, mode }: PublishedPort): void {
    if (!this.#given.listening.has(`${published}/${protocol}`)) return;
    const to = this.#service.ports.find(
      (candidate) => candidate.port === port && transportOf(candidate.protocol) === protocol,
    );
    if (to === undefined) return;
    for (const family of FAMILIES.filter((candidate) => this.#given.publishes[candidate])) {
      const name = this.#chainOf(to, family, mode === "host" ? "local" : "all");
      const set = family === "ip" ? "ports" : "ports6";
      const key = `${protocolWord(protocol)} . ${portWord(published)}`;
      if (name !== null) this.elements.push({ set, key, value: `jump ${name}` });
    }
  }

  /** The service's addresses that the kernel may turn away from the host: those of the pools. */
  #vips(): readonly (readonly [Family, string])[] {
    const { vip, vip6, aliasVips } = this.#service;
    const { pool, pool6 } = this.#given.around;
    const old = vip === null ? [] : [vip, ...aliasVips];
    // Packets for 127/8 never leave the host, whatever address they are given.
    const vips = old.filter((address) => contains(pool, address) && !isLoopback(address));
    const six = vip6 !== undefined && pool6 !== null && isIpv6(vip6) && contains6(pool6, vip6) ? [vip6] : [];
    return [
      ...vips.map((address) => ["ip", addressWord("ip", address)] as const),
      ...six.map((address) => ["ip6", addressWord("ip6", address)] as const),
    ];
  }

  /** The chain that serves a port in a family, made when it is first asked for; null where the proxy does. */
  #chainOf(port: ServicePort, family: Family, whom: "all" | "local"): string | null {
    const prefix = `${whom === "all" ? "all" : "local"}${family === "ip" ? "" : "6"}`;
    const rest = `${portWord(port.port)}-${transportOf(port.protocol)}`;
    const name = chainWord(prefix, this.#service.key, rest);
    const known = this.#chainByName.get(name);
    if (known !== undefined) return known;
    const texts = this.#rulesOf(port, { family, whom, name });
    this.#chainByName.set(name, texts === null ? null : name);
    if (texts === null) {
      if (this.#service.replicas.some(({ tier }) => tier === "eligible")) this.left.push(name);
      return null;
    }
    const { key } = this.#service;
    this.chains.push(chain(name, texts, { service: key, counter: counterWord(key) }));
    return name;
  }

  #rulesOf(
    port: ServicePort,
    {
      family,
      whom,
      name,
    }: { readonly family: Family; readonly whom: "all" | "local"; readonly name: string },
  ): readonly string[] | null {
    const { around, ejected, nowMs } = this.#given;
    const { traffic } = this.#service;
    if (!isForKernel(port, traffic)) return null;
    const all = upstreamsOf(this.#service, port, { around, ejected });
    this.#remember(all, port);
    const meant = whom === "all" ? all : all.filter(({ replica }) => replica.local);
    const chosen = candidates(meant, traffic, around);
    const healthy = chosen.filter(({ isDoubtful }) => !isDoubtful);
    if (healthy.length === 0 || chosen.length > UPSTREAMS_MAX) return null;
    if (chosen.some((upstream) => wantsProxy(upstream) || addressIn(upstream, family) === null)) return null;
    const endMs = rampEndMs(chosen, traffic, nowMs);
    if (endMs !== null) {
      this.againAtMs = Math.min(endMs, this.againAtMs ?? Infinity);
      return null;
    }
    this.#mask(healthy, port, family);
    const transport = transportOf(port.protocol);
    const at = { family, transport, counter: counterWord(this.#service.key) };
    return traffic.balance === "source-hash" ? byClient(chosen, at) : this.#inTurn(chosen, { ...at, name });
  }

  #inTurn(
    chosen: readonly Upstream[],
    { name, ...at }: Leading & { readonly name: string },
  ): readonly string[] {
    const healthy = chosen.filter(({ isDoubtful }) => !isDoubtful);
    const shares = sharesOf(
      healthy,
      chosen.filter(({ isDoubtful }) => isDoubtful),
    );
    const turns = inTurn(shares.healthy, Number.parseInt(digestOf(`${this.#given.self} ${name}`), 16));
    const slots = turns.map((index) => healthy[index] ?? null);
    const back = `numgen inc mod ${turns.length + shares.doubtful} < ${shares.doubtful} return`;
    const rules = leadRules(`numgen inc mod ${turns.length} offset ${MARK_LED}`, slots, at);
    return shares.doubtful === 0 ? rules : [back, ...rules];
  }

  /** Notes what the plan was made of, and who may keep flows. */
  #remember(upstreams: readonly Upstream[], { protocol }: ServicePort): void {
    const transport = transportOf(protocol);
    for (const upstream of upstreams) {
      this.ids.add(upstream.id);
      if (upstream.isDoubtful) this.doubtful.add(upstream.id);
      if (!keepsFlows(upstream)) continue;
      for (const address of [upstream.address, upstream.address6]) {
        if (address === null) continue;
        const endpoint = { address, transport, port: upstream.port };
        this.endpoints.set(endpointKey(endpoint), endpoint);
      }
    }
  }

  /** Those whose answers would not come back through this host see its address instead of the client's. */
  #mask(upstreams: readonly Upstream[], { protocol }: ServicePort, family: Family): void {
    const isAll = this.#service.traffic.source === "masquerade";
    for (const upstream of upstreams) {
      if (!isAll && !upstream.isOutside) continue;
      const address = addressWord(family, addressIn(upstream, family) ?? "");
      const key = `${address} . ${protocolWord(transportOf(protocol))} . ${portWord(upstream.port)}`;
      this.elements.push({ set: family === "ip" ? "masked" : "masked6", key, value: "" });
    }
  }
}

/** The chain that says who may use the VIPs of a network. */
export function seeChain(network: string): string {
  return `see-${networkWord(network)}`;
}

function addressIn({ address, address6 }: Upstream, family: Family): string | null {
  return family === "ip" ? address : address6;
}

/** Where the rules of a chain lead to. */
interface Leading {
  readonly family: Family;
  readonly transport: "tcp" | "udp";
  /** What counts the connections that are. */
  readonly counter: string;
}

/** By the client's address; what belongs to a doubtful upstream goes back. */
function byClient(upstreams: readonly Upstream[], at: Leading): readonly string[] {
  const buckets = bucketsOf(upstreams.map(({ replica, weight }) => ({ id: replica.id, weight })));
  const slots = buckets.map((index) => upstreams[index] ?? null);
  const chosen = `jhash ${at.family} saddr mod ${slots.length} seed ${HASH_SEED} offset ${MARK_LED}`;
  return leadRules(
    chosen,
    slots.map((upstream) => (upstream?.isDoubtful === true ? null : upstream)),
    at,
  );
}

/**
 * Chooses a slot, as the connection's mark, and leads to who has it. Without anybody, back to the proxy; and so where a
 * replica has chosen itself: a bridge does not send a frame out where it came in, so that packet would be lost.
 */
function leadRules(
  choice: string,
  slots: readonly (Upstream | null)[],
  { family, transport, counter }: Leading,
): readonly string[] {
  const places = slots.flatMap((upstream, slot) =>
    upstream === null ? [] : [{ upstream, mark: markWord(MARK_LED + slot) }],
  );
  const selves = places
    .filter(({ upstream }) => upstream.replica.local)
    .map(({ upstream, mark }) => [addressWord(family, addressIn(upstream, family) ?? ""), mark] as const);
  const map = places.map(({ upstream, mark }) => `${mark} : ${socketOf(upstream, family)}`).join(", ");
  const counted = `meta l4proto ${protocolWord(transport)} counter name ${counter}`;
  return [
    `ct mark set ${choice}`,
    ...ownCalls(selves, family),
    ...backOf(slots),
    `${counted} dnat ${family} to ct mark map { ${map} }`,
  ];
}

/** Those without anybody go back before they are counted. */
function backOf(slots: readonly (Upstream | null)[]): readonly string[] {
  const marks = slots.flatMap((upstream, slot) => (upstream === null ? [markWord(MARK_LED + slot)] : []));
  return marks.length === 0 ? [] : [`ct mark { ${marks.join(", ")} } return`];
}

/** A few as rules of their own: a set has its price for every change, as nft reads all sets of the table. */
function ownCalls(selves: readonly (readonly [string, string])[], family: Family): readonly string[] {
  if (selves.length <= FEW)
    return selves.map(([address, mark]) => `${family} saddr ${address} ct mark ${mark} return`);
  const pairs = selves.map(([address, mark]) => `${address} . ${mark}`).join(", ");
  return [`${family} saddr . ct mark { ${pairs} } return`];
}

function socketOf(upstream: Upstream, family: Family): string {
  return `${addressWord(family, addressIn(upstream, family) ?? "")} . ${portWord(upstream.port)}`;
}
