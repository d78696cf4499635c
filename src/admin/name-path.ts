/**
 * Name path: do a container's questions for names reach this daemon?
 *
 * That a question of it was seen is the best proof; one that came before this run of it had its address is another's.
 * Else the way is followed: the resolver asks its servers in order and takes the first answer, a "no such name"
 * included, so our address must be the first. Behind Docker's own server (127.0.0.11) the same holds, but for networks
 * that are all internal: for these it asks nobody, on engines that are new enough. Where the kernel's rules lead
 * questions here it does not matter whom they are for, unless Docker asks in the host's name.
 *
 * A container that does not ask us may do so on purpose, so that is a warning. One that was pointed at us and gets no
 * answer is broken, and a failure.
 *
 * Pure.
 */

import { isLoopback, renderHostPort } from "../base/ip.ts";
import type { HeldAddress, NamePath, NameServer } from "../model/endpoint.ts";

import { made } from "./checks/catalogue.ts";
import type { DoctorCheck } from "./contract-doctor.ts";
import type { ProblemLine } from "./contract.ts";

/** How a check came out, in words. */
type Judgement = Pick<DoctorCheck, "state" | "text" | "remedy">;

/** A container, and when it last asked this daemon for a name. */
export interface AskingContainer extends NamePath {
  /** How long ago, milliseconds; null when this run of it has not, as far as is remembered. */
  readonly askedAgoMs: number | null;
}

/** Where this daemon could be asked. */
export interface Answering {
  /** Where DNS is answered, as `host:port`, wildcards as the addresses they stand for. */
  readonly dnsPlaces: readonly string[];
  /** The host's own addresses on bridge networks. */
  readonly gateways: readonly string[];
}

/**
 * How long ago a container asked for a name, milliseconds; null when no question is known to be its own.
 *
 * @param lastAskedMs  when an address last asked, whoever had it then; by the clock of `sinceMs` and `nowMs`
 */
export function askedAgoMsOf(
  addresses: readonly HeldAddress[],
  lastAskedMs: (address: string) => number | null,
  nowMs: number,
): number | null {
  const times = addresses.flatMap(({ address, sinceMs }) => {
    const askedAtMs = lastAskedMs(address);
    return askedAtMs === null || askedAtMs <= sinceMs ? [] : askedAtMs;
  });
  return times.length === 0 ? null : Math.max(0, nowMs - Math.max(...times));
}

/**
 * Judges one container.
 *
 * @param problems  those of `status`: one of a gateway says what holds its port
 * @returns null for one without a network: it asks nobody
 */
export function judgeNamePath(
  container: AskingContainer,
  answering: Answering,
  problems: readonly ProblemLine[],
): DoctorCheck | null {
  if (container.stack === "none") return null;
  return made("container.names", { subject: container.name, ...judged(container, answering, problems) });
}

function judged(
  container: AskingContainer,
  answering: Answering,
  problems: readonly ProblemLine[],
): Judgement {
  const { askedAgoMs, embedded, servers, isolated, stack } = container;
  const refused = isolated ? `; ${REFUSED}` : "";
  if (askedAgoMs !== null) {
    return { state: "ok", text: `asked this daemon ${secondsText(askedAgoMs)} ago${refused}`, remedy: null };
  }
  if (embedded && isolated) return { state: "warn", text: SEALED, remedy: INTERNAL };
  const remedy = isolated ? INTERNAL : remedyFor(container, answering, problems);
  if (servers === null && container.led === true) {
    const text =
      "the kernel's rules lead its questions to this daemon, but for those that Docker asks in the host's name";
    return { state: "ok", text: `${text}; no question was seen yet${refused}`, remedy: null };
  }
  if (servers === null) {
    const whom = embedded ? "those of daemon.json or else of the host, which" : "servers that";
    const text = `asks ${through(embedded)}${whom} cannot be told from here; no question was seen yet`;
    return { state: "warn", text, remedy };
  }
  const [first] = servers;
  if (first === undefined) return { state: "warn", text: "has no server for names", remedy };
  const whom = `${through(embedded)}${servers.map(({ address }) => address).join(", ")}`;
  if (leadsHere(first, answering)) {
    const asHost = first.fromHost && stack === "own" ? ", in the host's name: it sees every network" : "";
    return {
      state: "ok",
      text: `asks ${whom}: this daemon${asHost}; no question was seen yet${refused}`,
      remedy: null,
    };
  }
  if (container.led === true && !first.fromHost) {
    const text = `asks ${whom}, which the kernel's rules lead to this daemon; no question was seen yet${refused}`;
    return { state: "ok", text, remedy: null };
  }
  if (answering.gateways.includes(first.address)) {
    const why = problemAt(first.address, problems) ?? `nobody answers at ${first.address}:53 yet`;
    return { state: "fail", text: `asks ${whom}, where this daemon does not answer: ${why}`, remedy: null };
  }
  if (servers.some((server) => leadsHere(server, answering))) {
    const text = `asks ${whom}: not this daemon first, and "no such name" of the first one is final`;
    return { state: "warn", text, remedy };
  }
  return { state: "warn", text: `asks ${whom}: not this daemon`, remedy };
}

/** Right for engines of any age: they differ in patch releases, and distributions patch theirs without a new number. */
const SEALED =
  "all its networks are internal: Docker's own server (127.0.0.11) asks nobody for these since Docker 26, 25.0.5 and " +
  "23.0.11 (CVE-2024-29018), older ones ask on; no question was seen yet";

const REFUSED = "names outside the zone are refused, since all its networks are internal";

const INTERNAL =
  "attach it to a network that is not internal as well, " +
  "or mount a file over its /etc/resolv.conf that names the host's address on its network";

function through(embedded: boolean): string {
  return embedded ? "Docker's own server (127.0.0.11), behind it " : "";
}

/** True when a question to this server arrives at one of our sockets. */
function leadsHere({ address, fromHost }: NameServer, { dnsPlaces }: Answering): boolean {
  if (!fromHost && isLoopback(address)) return false;
  return dnsPlaces.includes(placeOf(address));
}

/** Where the container should be pointed: at its own gateway, else at any that answers. */
function remedyFor(
  { gateways, stack }: AskingContainer,
  answering: Answering,
  problems: readonly ProblemLine[],
): string {
  if (stack === "host") {
    const served = answering.dnsPlaces.find((place) => place.endsWith(":53"));
    return served === undefined
      ? "it uses the host's resolver: add 127.0.0.1:53 to dns.listen and name that in the host's /etc/resolv.conf"
      : `it uses the host's resolver: name ${served.slice(0, -3)} first in the host's /etc/resolv.conf`;
  }
  const answers = (gateway: string): boolean => answering.dnsPlaces.includes(placeOf(gateway));
  const best = gateways.find(answers) ?? answering.gateways.find(answers);
  if (best !== undefined) {
    const own = `start it with --dns ${best} (compose: dns: [${best}])`;
    return `${own}, or put "dns": ["${best}"] into daemon.json for all made from then on`;
  }
  const [own = answering.gateways[0]] = gateways;
  if (own === undefined)
    return "make this daemon answer on port 53 of an address that it reaches (dns.listen)";
  const why = problemAt(own, problems);
  const made = `make this daemon answer on ${placeOf(own)}`;
  return `${why === null ? made : `${made} (${why})`}, then start it with --dns ${own}`;
}

function problemAt(address: string, problems: readonly ProblemLine[]): string | null {
  return problems.find(({ area, subject }) => area === "bind" && subject === placeOf(address))?.text ?? null;
}

/** Port 53 of an address, as `host:port`: no resolver asks at another. */
export function placeOf(address: string): string {
  return renderHostPort({ host: address, port: 53 });
}

function secondsText(ms: number): string {
  return ms < 60_000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60_000)} min`;
}
