/**
 * Doctor: what works on this host and what does not, with the remedy.
 *
 * What `status` calls a problem is told here in the same words; what is added are checks that come out well, too, so
 * that a reader sees what was looked at, and a remedy where one can be named. What works less well than it could is a
 * warning; what is there to work and does not is a failure, and only that makes the command fail. What the host has is
 * judged in checks/, how a container asks for names in name-path.ts, the data plane in data-plane.ts.
 *
 * Pure. The daemon gathers the facts.
 */

import type { Prefix } from "../base/ip.ts";

import { listed, made, problemCheck } from "./checks/catalogue.ts";
import { DEFAULT_ENGINE_POOLS, judgeEngine, type EngineFacts } from "./checks/engine.ts";
import { judgeHost, type HostFacts, type HostNeeds } from "./checks/host.ts";
import { judgePeers, type PeerFacts } from "./checks/peers.ts";
import { judgeRanges } from "./checks/ranges.ts";
import type { DoctorCheck, DoctorReport } from "./contract-doctor.ts";
import type { ProblemLine } from "./contract.ts";
import { isOfNetwork, judgePlane, type PlaneFacts } from "./data-plane.ts";
import { statusOf, type Snapshot } from "./handlers.ts";
import { judgeNamePath, placeOf, type Answering, type AskingContainer } from "./name-path.ts";

/** An upstream of DNS. `unknown`: it has said nothing yet. `loop`: it asks us what we ask it, and is left out. */
export interface UpstreamFacts {
  /** `host:port` */
  readonly address: string;
  readonly state: "unknown" | "alive" | "silent" | "loop";
}

/** What a doctor looks at beside the snapshot. */
export interface DoctorFacts extends Answering {
  readonly upstreams: readonly UpstreamFacts[];
  readonly containers: readonly AskingContainer[];
  /** What holds port 53 of a gateway in our place, by the place: `dnsmasq (pid 812)`; only what can be seen. */
  readonly holderByPlace: ReadonlyMap<string, string>;
  /** What the kernel does for this host's networks; null where the proxy carries all. */
  readonly plane: PlaneFacts | null;
  /** What this host has, and what is asked of it; null where that was not found out in time. */
  readonly host: { readonly facts: HostFacts; readonly needs: HostNeeds } | null;
  /** Null where it was not found out in time. */
  readonly engine: EngineFacts | null;
  /** The other members, but for those that left. */
  readonly peers: readonly PeerFacts[];
  /** What the cluster's addresses are taken from. */
  readonly pools: { readonly vip: Prefix; readonly overlay: Prefix } | null;
  /** What could not be looked at in time, in words. */
  readonly unseen: readonly string[];
}

const UNSEEN = {
  state: "warn",
  text: "could not be looked at",
  remedy: "ask again; if it stays so, the daemon's log may say why",
} as const;

/** Areas of problems in which something does not work at all. */
const FAILING: ReadonlySet<ProblemLine["area"]> = new Set(["bind", "state", "trust"]);

/** All checks of a moment. */
export function diagnose(snapshot: Snapshot, facts: DoctorFacts): DoctorReport {
  const { problems, warnings } = statusOf(snapshot);
  const gateways = new Set(facts.gateways.map(placeOf));
  // Those of gateways and upstreams are told by the checks of these.
  const others = problems.filter(({ area, subject, text }) => {
    if (isOfNetwork({ area, subject, text }, snapshot.view.networks)) return false;
    return area !== "upstream" && (area !== "bind" || !gateways.has(subject));
  });
  return {
    checks: [
      ...ofListeners(snapshot),
      ...(facts.host === null ? [] : judgeHost(facts.host.facts, facts.host.needs)),
      ...(facts.engine === null ? [] : judgeEngine(facts.engine, facts.host?.needs.kernel ?? false)),
      ...ofSources(snapshot),
      ...ofCertificate(snapshot),
      ...ofVips(snapshot),
      ...ofRanges(snapshot, facts),
      ...judgePlane(snapshot, facts.plane, problems),
      ...ofPeers(snapshot, facts),
      ...facts.gateways.map((gateway) => ofGateway(gateway, facts, problems)),
      ...ofUpstreams(snapshot, facts),
      ...facts.containers.flatMap((container) => judgeNamePath(container, facts, problems) ?? []),
      ...others.map((problem) => problemCheck(problem, FAILING.has(problem.area) ? "fail" : "warn")),
      ...facts.unseen.map((subject) => made("daemon.unseen", { subject, ...UNSEEN })),
      ...warnings.map((text) => {
        return made("daemon.warning", { subject: snapshot.nodeName, state: "warn", text });
      }),
    ],
  };
}

function ofListeners({ listen }: Snapshot): readonly DoctorCheck[] {
  return Object.entries(listen).flatMap(
    ([subject, addresses]: [string, readonly string[]]): readonly DoctorCheck[] => {
      if (addresses.length === 0) return [];
      return [made("listener.open", { subject, state: "ok", text: `listens on ${listed(addresses)}` })];
    },
  );
}

const DAY_MS = 86_400_000;

/** What is wrong with it is a problem of status; here is told until when it is good. */
function ofCertificate({ trust, atMs, nodeName: subject }: Snapshot): readonly DoctorCheck[] {
  const { endsAtMs, issuerGeneration } = trust.certificate;
  const leftMs = endsAtMs - atMs;
  if (leftMs <= 0) {
    const remedy = "set this host's clock if it is wrong; else join again: skein join HOST --token TOKEN";
    const text = `its certificate ended on ${new Date(endsAtMs).toISOString()}: no other host takes it`;
    return [made("trust.certificate", { subject, state: "fail", text, remedy })];
  }
  const issuer = issuerGeneration === null ? "" : `, of authority generation ${issuerGeneration}`;
  const left =
    leftMs < 2 * DAY_MS ? `${Math.floor(leftMs / 3_600_000)} h` : `${Math.floor(leftMs / DAY_MS)} days`;
  const text = `its certificate is good for another ${left}${issuer}, and is renewed in time by itself`;
  return [made("trust.certificate", { subject, state: "ok", text })];
}

/** Without NET_ADMIN VIPs are loopback addresses, which is the dearest thing that a missing privilege costs. */
function ofVips({ choices, view }: Snapshot): readonly DoctorCheck[] {
  const picked = choices.find(({ key }) => key === "vip.pool");
  const count = view.services.filter(({ vip }) => vip !== null).length;
  const subject = picked?.value ?? "vip.pool";
  const text = `services with an address of it: ${count}`;
  if (picked === undefined || !picked.value.startsWith("127.")) {
    return [made("vip.reach", { subject, state: "ok", text })];
  }
  const cost = `${picked.reason}; containers and other hosts do not reach them`;
  const remedy = "give the daemon NET_ADMIN (in Docker: --cap-add NET_ADMIN)";
  return [made("vip.reach", { subject, state: "warn", text: `${text}; ${cost}`, remedy })];
}

function ofRanges({ view }: Snapshot, { pools, engine }: DoctorFacts): readonly DoctorCheck[] {
  if (pools === null) return [];
  const told = engine?.kind === "there" ? engine.description.pools : null;
  const enginePools = told?.length === 0 ? DEFAULT_ENGINE_POOLS : (told ?? []);
  const { members, networks } = view;
  return judgeRanges({
    vipPool: pools.vip,
    overlayPool: pools.overlay,
    enginePools,
    members,
    networks,
    tellsVips: false,
  });
}

/** Of others that were not looked at nothing is known: then this host is not said to be alone. */
function ofPeers(snapshot: Snapshot, { peers }: DoctorFacts): readonly DoctorCheck[] {
  const { node } = statusOf(snapshot);
  const isAlone = snapshot.view.members.every(({ self, state }) => self || state === "left");
  if (peers.length === 0 && !isAlone) return [];
  return judgePeers(peers, { name: node.name, version: node.version, address: node.address });
}

function ofGateway(gateway: string, facts: DoctorFacts, problems: readonly ProblemLine[]): DoctorCheck {
  const subject = placeOf(gateway);
  if (facts.dnsPlaces.includes(subject))
    return made("gateway.answers", { subject, state: "ok", text: "answers containers" });
  const problem = problems.find((one) => one.area === "bind" && one.subject === subject);
  const holder = facts.holderByPlace.get(subject);
  const held = holder === undefined ? "" : `; ${holder} has it`;
  const text = `${problem?.text ?? "does not answer yet"}${held}`;
  return made("gateway.answers", { subject, state: "warn", text });
}

function ofUpstreams({ choices }: Snapshot, { upstreams }: DoctorFacts): readonly DoctorCheck[] {
  if (upstreams.length === 0) {
    const isAuto = choices.some(({ key }) => key === "dns.upstream");
    const text = "none: names outside the zone are refused";
    const remedy = isAuto
      ? "name a server in dns.upstream: the host's resolver is none but this daemon"
      : null;
    const state = isAuto ? "warn" : "ok";
    return [made("upstream.answers", { subject: "dns.upstream", state, text, remedy })];
  }
  const mayWork = upstreams.some(({ state }) => state === "alive" || state === "unknown");
  return upstreams.map(({ address: subject, state }): DoctorCheck => {
    if (state === "alive") return made("upstream.answers", { subject, state: "ok", text: "answers" });
    if (state === "unknown") return made("upstream.answers", { subject, state: "warn", text: UNKNOWN });
    return made("upstream.answers", { subject, state: mayWork ? "warn" : "fail", ...AILMENTS[state] });
  });
}

const UNKNOWN = "has not answered yet; it is asked again within a minute";

const AILMENTS = {
  silent: {
    text: "does not answer: servers that do are asked before it",
    remedy: "name servers that answer from here in dns.upstream",
  },
  loop: {
    text: "asks this daemon what it is asked itself: it is left out",
    remedy: "stop it from forwarding to this daemon, or name another server in dns.upstream",
  },
} as const;

/** What `status` tells of upstreams that are not well. */
export function upstreamProblems(upstreams: readonly UpstreamFacts[]): readonly ProblemLine[] {
  return upstreams.flatMap(({ address: subject, state }) => {
    if (state === "alive" || state === "unknown") return [];
    return [{ area: "upstream", subject, text: AILMENTS[state].text }];
  });
}

function ofSources({ sources }: Snapshot): readonly DoctorCheck[] {
  return sources.map(({ name: subject, endpoints, stale }) => {
    if (stale !== null) return made("source.fresh", { subject, state: "fail", text: stale });
    return made("source.fresh", { subject, state: "ok", text: `${endpoints} endpoints` });
  });
}
