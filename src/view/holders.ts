/**
 * Holders: which service has a published port, a route of the HTTP ingress or a host's TLS, that several want.
 *
 * The one with the lower (order, key) has it, on every node alike; a service whose hosts are all gone comes after all
 * others, since it must not hold a port that a living one could serve. Each port and route is settled for itself, so a
 * change costs those who want the same ones; most services want none.
 *
 * Pure: the memory of one node, told what each service wants.
 */

import { compareText } from "../base/sorted.ts";
import type { ServiceKey } from "../model/ids.ts";
import type { PublishedPort, ServiceDeclaration } from "../model/service.ts";

/** What one service wants, and by what right. */
export interface Wanting {
  readonly key: ServiceKey;
  /** In words, each once: `published port 80/tcp`. */
  readonly names: readonly string[];
  /** Some host that has a replica of it is there. */
  readonly isPresent: boolean;
  /** Order of its VIP's claim; Infinity for none. */
  readonly order: number;
}

interface Contest {
  readonly wanting: Set<Wanting>;
  holder: Wanting | null;
}

const NOTHING: readonly string[] = [];

/** Remembers who wants what, and says who has it. */
export class Holders {
  readonly #wantingByKey = new Map<ServiceKey, Wanting>();
  readonly #contestByName = new Map<string, Contest>();
  readonly #openNames = new Set<string>();

  /** Takes what a service wants now; one that is gone wants nothing. Ask `settle` before asking who holds what. */
  set(wanting: Wanting): void {
    const before = this.#wantingByKey.get(wanting.key);
    if (before === undefined && wanting.names.length === 0) return;
    if (before !== undefined && isSame(before, wanting)) return;
    for (const name of before?.names ?? NOTHING) this.#contest(name).wanting.delete(before ?? wanting);
    for (const name of wanting.names) this.#contest(name).wanting.add(wanting);
    if (wanting.names.length > 0) this.#wantingByKey.set(wanting.key, wanting);
    else this.#wantingByKey.delete(wanting.key);
  }

  /**
   * Settles what was wanted anew or not any more.
   *
   * @returns services that may have won or lost something by it
   */
  settle(): ReadonlySet<ServiceKey> {
    const moved = new Set<ServiceKey>();
    for (const name of this.#openNames) {
      const contest = this.#contest(name);
      const holder = first(contest.wanting);
      // By key: the same service may hold it with another right.
      if (holder?.key !== contest.holder?.key) for (const { key } of contest.wanting) moved.add(key);
      contest.holder = holder;
      if (holder === null) this.#contestByName.delete(name);
    }
    this.#openNames.clear();
    return moved;
  }

  /** What a service wants and another has: the name of it, and whose it is. */
  refused(key: ServiceKey): ReadonlyMap<string, ServiceKey> {
    const refused = new Map<string, ServiceKey>();
    for (const name of this.#wantingByKey.get(key)?.names ?? NOTHING) {
      const holder = this.#contestByName.get(name)?.holder?.key ?? key;
      if (holder !== key) refused.set(name, holder);
    }
    return refused;
  }

  #contest(name: string): Contest {
    this.#openNames.add(name);
    const known = this.#contestByName.get(name);
    if (known !== undefined) return known;
    const contest: Contest = { wanting: new Set(), holder: null };
    this.#contestByName.set(name, contest);
    return contest;
  }
}

/** What a declaration wants everywhere; a port of mode `host` each host settles for itself. */
export function wantedBy({ publish, http, passthrough }: Asked): readonly string[] {
  if (publish.length === 0 && http.length === 0 && passthrough.length === 0) return NOTHING;
  const everywhere = publish.filter(({ mode }) => mode === "ingress");
  const names = [...everywhere.map(publishText), ...http.map(routeText), ...passthrough.map(passthroughText)];
  return [...new Set(names)];
}

/** What of a declaration only one service can have. */
export type Asked = Pick<ServiceDeclaration, "publish" | "http" | "passthrough">;

/** A published port as it is told. */
export function publishText({ published, protocol }: PublishedPort): string {
  return `published port ${published}/${protocol}`;
}

/** A route as it is told. */
export function routeText({ host, path }: { readonly host: string; readonly path: string }): string {
  // `/api` and `/api/` are one route to the proxy.
  return `route ${host}${path.replace(/(.)\/+$/, "$1")}`;
}

/** A host whose TLS passes unopened, as it is told. */
export function passthroughText(host: string): string {
  return `TLS passthrough of ${host}`;
}

function isSame(one: Wanting, other: Wanting): boolean {
  return one.names === other.names && one.isPresent === other.isPresent && one.order === other.order;
}

function first(wanting: Iterable<Wanting>): Wanting | null {
  let best: Wanting | null = null;
  for (const one of wanting) if (best === null || compareRight(one, best) < 0) best = one;
  return best;
}

function compareRight(one: Wanting, other: Wanting): number {
  if (one.isPresent !== other.isPresent) return one.isPresent ? -1 : 1;
  // Not one - other: both are Infinity for services without a VIP.
  if (one.order !== other.order) return one.order < other.order ? -1 : 1;
  return compareText(one.key, other.key);
}
