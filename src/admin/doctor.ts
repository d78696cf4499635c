/**
 * Doctor: what works on this host and what does not, with the remedy.
 *
 * What `status` calls a problem is told here in the same words; what is added are checks that come out well, too, so
 * that a reader sees what was looked at, and a remedy where one can be named. What works less well than it could is a
 * warning; what is there to work and does not is a failure, and only that makes the command fail. How a container asks
 * for names is judged in name-path.ts, the data plane in data-plane.ts.
 *
 * Pure. The daemon gathers the facts.
 */

import type { DoctorCheck, DoctorReport, ProblemLine } from "./contract.ts";
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
}

/** Addresses of one part that are named; beyond, they are counted. */
const NAMED_MAX = 8;

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
      ...ofVips(snapshot),
      ...judgePlane(snapshot, facts.plane, problems),
      ...facts.gateways.map((gateway) => ofGateway(gateway, facts, problems)),
      ...ofUpstreams(snapshot, facts),
      ...ofSources(snapshot),
      ...facts.containers.flatMap((container) => judgeNamePath(container, facts, problems) ?? []),
      ...others.map(({ area, subject, text }): DoctorCheck => {
        return { area, subject, state: FAILING.has(area) ? "fail" : "warn", text, remedy: null };
      }),
      ...warnings.map((text): DoctorCheck => {
        return { area: "state", subject: snapshot.nodeName, state: "warn", text, remedy: null };
      }),
    ],
  };
}

function ofListeners({ listen }: Snapshot): readonly DoctorCheck[] {
  return Object.entries(listen).flatMap(
    ([subject, addresses]: [string, readonly string[]]): DoctorCheck[] => {
      if (addresses.length === 0) return [];
      return [
        { area: "listener", subject, state: "ok", text: `listens on ${listed(addresses)}`, remedy: null },
      ];
    },
  );
}

/** Without NET_ADMIN VIPs are loopback addresses, which is the dearest thing that a missing privilege costs. */
function ofVips({ choices, view }: Snapshot): readonly DoctorCheck[] {
  const picked = choices.find(({ key }) => key === "vip.pool");
  const count = view.services.filter(({ vip }) => vip !== null).length;
  const subject = picked?.value ?? "vip.pool";
  const text = `services with an address of it: ${count}`;
  if (picked === undefined || !picked.value.startsWith("127.")) {
    return [{ area: "vip", subject, state: "ok", text, remedy: null }];
  }
  const cost = `${picked.reason}; containers and other hosts do not reach them`;
  const remedy = "give the daemon NET_ADMIN (in Docker: --cap-add NET_ADMIN)";
  return [{ area: "vip", subject, state: "warn", text: `${text}; ${cost}`, remedy }];
}

function ofGateway(gateway: string, facts: DoctorFacts, problems: readonly ProblemLine[]): DoctorCheck {
  const subject = placeOf(gateway);
  const check = { area: "gateway", subject, remedy: null } as const;
  if (facts.dnsPlaces.includes(subject)) return { ...check, state: "ok", text: "answers containers" };
  const problem = problems.find((one) => one.area === "bind" && one.subject === subject);
  const holder = facts.holderByPlace.get(subject);
  const held = holder === undefined ? "" : `; ${holder} has it`;
  return { ...check, state: "warn", text: `${problem?.text ?? "does not answer yet"}${held}` };
}

function ofUpstreams({ choices }: Snapshot, { upstreams }: DoctorFacts): readonly DoctorCheck[] {
  const area = "upstream";
  if (upstreams.length === 0) {
    const isAuto = choices.some(({ key }) => key === "dns.upstream");
    const text = "none: names outside the zone are refused";
    const remedy = isAuto
      ? "name a server in dns.upstream: the host's resolver is none but this daemon"
      : null;
    return [{ area, subject: "dns.upstream", state: isAuto ? "warn" : "ok", text, remedy }];
  }
  const mayWork = upstreams.some(({ state }) => state === "alive" || state === "unknown");
  return upstreams.map(({ address: subject, state }): DoctorCheck => {
    if (state === "alive") return { area, subject, state: "ok", text: "answers", remedy: null };
    if (state === "unknown") return { area, subject, state: "warn", text: UNKNOWN, remedy: null };
    const { text, remedy } = AILMENTS[state];
    return { area, subject, state: mayWork ? "warn" : "fail", text, remedy };
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
  return sources.map(({ name, endpoints, stale }): DoctorCheck => {
    if (stale !== null) return { area: "source", subject: name, state: "fail", text: stale, remedy: null };
    return { area: "source", subject: name, state: "ok", text: `${endpoints} endpoints`, remedy: null };
  });
}

function listed(addresses: readonly string[]): string {
  const named = addresses.slice(0, NAMED_MAX).join(", ");
  return addresses.length > NAMED_MAX ? `${named} and ${addresses.length - NAMED_MAX} more` : named;
}
