/**
 * Lookup: which service, replica or member does a person mean?
 *
 * People type what they know: `web`, `web.default`, `default/web`, the full DNS name, an alias, a container's name or
 * the start of its id. All that names one thing is taken; what names several is refused with the list, and what names
 * nothing with the nearest name there is, for most unknown names are typing errors. A bare name follows the order in
 * which DNS answers a process of the host: the network `default` first, else the only network that has it.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { nearest } from "../base/nearest.ts";
import { DEFAULT_NETWORK } from "../model/ids.ts";
import type { Member } from "../model/member.ts";
import type { Replica, Service, View } from "../model/view.ts";

/**
 * Finds the service that `text` names.
 *
 * @param network  the only network to look in; null for all
 * @returns `not-found` with the nearest name, or `usage` with the candidates when several networks have it
 */
export function findService(view: View, text: string, network: string | null): Result<Service> {
  const wanted = text.toLowerCase().replace(/\.$/, "");
  const seen = view.services.filter((service) => network === null || service.network === network);
  const exact = seen.filter((service) => service.key === wanted || service.name === wanted);
  const found = exact.length > 0 ? exact : seen.filter((service) => answersTo(service, wanted));
  const first = found.find((service) => service.network === DEFAULT_NETWORK) ?? found[0];
  if (first === undefined) {
    if (network !== null && !view.services.some((service) => service.network === network))
      return failed("not-found", `no service of a network "${network}"; expected one of skein service ls`);
    return missing("service", text, seen.flatMap(namesOf));
  }
  if (found.length > 1 && first.network !== DEFAULT_NETWORK) {
    const keys = found.map((service) => service.key);
    // What DNS tells a process of the host, for the same reason.
    const told = "so the name alone is NXDOMAIN";
    return failed("usage", `service "${text}" could be ${listed(keys)}, ${told}; expected one of these`);
  }
  return success(first);
}

/** Finds the replica that `text` names: an id, a unique start of one (4 characters at least), or a unique name. */
export function findReplica(view: View, text: string): Result<Replica> {
  const replicas = view.services.flatMap((service) => service.replicas);
  const byId = replicas.filter((replica) => replica.id === text);
  const byName = byId.length > 0 ? byId : replicas.filter((replica) => replica.name === text);
  const found = byName.length > 0 ? byName : replicas.filter((replica) => startsId(replica, text));
  const [first] = found;
  if (first === undefined) {
    return missing(
      "replica",
      text,
      replicas.flatMap((replica) => [replica.name, replica.id]),
    );
  }
  if (found.length > 1) {
    // What is in several networks is a copy in each; the first, whose id the others begin with, stands for all of them.
    const whole = found.find(({ id }) =>
      found.every((other) => other.id === id || other.id.startsWith(`${id}.`)),
    );
    if (whole !== undefined) return success(whole);
    const ids = found.map((replica) => `${replica.id} (on ${replica.nodeName})`);
    return failed("usage", `replica "${text}" could be ${listed(ids)}; expected one of these ids`);
  }
  return success(first);
}

/**
 * Finds the member that `text` names: an id, a unique start of one (4 characters at least), or a name. A host whose
 * data dir was lost comes back under its name with another id: then the one that lives is meant.
 */
export function findMember({ members }: View, text: string): Result<Member> {
  const byId = members.filter((member) => member.id === text);
  const byName = byId.length > 0 ? byId : members.filter((member) => member.name === text.toLowerCase());
  const found = byName.length > 0 ? byName : members.filter((member) => startsId(member, text));
  const living = found.filter(({ state }) => state !== "dead" && state !== "left");
  const [first] = living.length === 1 ? living : found;
  if (first === undefined) {
    return missing(
      "member",
      text,
      members.flatMap(({ name, id }) => [name, id]),
    );
  }
  if (found.length > 1 && living.length !== 1) {
    const ids = found.map(({ id, state }) => `${id} (${state})`);
    return failed("usage", `member "${text}" could be ${listed(ids)}; expected one of these ids`);
  }
  return success(first);
}

/** The other names of a service, as DNS knows them; the domain behind the network may be any. */
function answersTo(service: Service, wanted: string): boolean {
  const { name, network, stack, aliases } = service;
  const labels = [name, ...aliases];
  if (labels.includes(wanted)) return true;
  if (labels.some((label) => wanted === `${network}/${label}` || wanted === `${label}.${network}`))
    return true;
  if (labels.some((label) => wanted.startsWith(`${label}.${network}.`))) return true;
  return stack !== null && (wanted === `${name}.${stack}` || wanted === `${stack}_${name}`);
}

function namesOf(service: Service): readonly string[] {
  return [service.name, service.key, ...service.aliases];
}

function startsId({ id }: { readonly id: string }, text: string): boolean {
  return text.length >= 4 && id.startsWith(text);
}

/** Where the names stand that somebody may mean. */
const LISTED_BY = {
  service: "one of skein service ls",
  replica: "one that skein node inspect or skein explain lists",
  member: "one of skein node ls",
} as const;

function missing(thing: keyof typeof LISTED_BY, text: string, names: readonly string[]): Result<never> {
  const near = nearest(text, names);
  const known = `expected ${LISTED_BY[thing]}`;
  return failed("not-found", `no ${thing} "${text}"; ${near === null ? known : `did you mean "${near}"?`}`);
}

/** At most five, so that a short id start does not print the cluster. */
function listed(texts: readonly string[]): string {
  const shown = texts.slice(0, 5).join(", ");
  return texts.length > 5 ? `${shown} and ${texts.length - 5} more` : shown;
}
