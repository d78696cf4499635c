/**
 * Catalogue: every check of doctor by its stable name, with the area it is of and why it matters.
 *
 * In one table, so that a name is used once, none is forgotten in the documentation, and a check cannot be made without
 * a reason for it. What came out of a check is said where it is judged.
 *
 * Pure.
 */

import type { ProblemLine } from "../contract.ts";
import type { DoctorArea, DoctorCheck } from "../contract-doctor.ts";

/** Area and reason by name. */
export const CHECKS = {
  "daemon.answers": ["daemon", "without the daemon nothing here is named, balanced or told to other hosts"],
  "daemon.delay": ["daemon", "a daemon that runs late answers late, and takes other hosts for dead"],
  "daemon.files": ["daemon", "each connection that the proxy carries costs two open files"],
  "daemon.unseen": ["daemon", "what was not looked at may be well or ill"],
  "daemon.warning": ["daemon", "the daemon lives with it, and does less well for it"],
  "listener.open": ["listener", "what does not listen cannot be reached"],
  "config.valid": ["config", "a daemon does not start with a configuration that holds a mistake"],
  "rights.net-admin": [
    "rights",
    "without it VIPs are known to this host alone, and the proxy carries all traffic",
  ],
  "rights.net-raw": [
    "rights",
    "iptables and ping need it, and where Docker drops what is forwarded so do overlays",
  ],
  "rights.low-ports": ["rights", "without it no port below 1024 can be served: DNS on 53, HTTP on 80"],
  "program.there": ["program", "the daemon changes the kernel's tables and links by these programs"],
  "host.module": ["host", "overlay networks and rules are made of what the kernel has"],
  "host.conntrack": ["host", "a full table of connections drops new ones of every program on this host"],
  "host.rp-filter": ["host", "a strict check of sources drops packets that take another way back"],
  "host.bridge-firewall": [
    "host",
    "it decides whether the host's firewall sees packets between containers of one bridge",
  ],
  "docker.reachable": ["docker", "services and containers are found by asking Docker"],
  "docker.version": ["docker", "an engine older than 20.10 does not tell what is needed"],
  "docker.firewall": [
    "docker",
    "Docker drops what it did not forward itself unless its firewall is told otherwise",
  ],
  "docker.live-restore": ["docker", "without it a restart of Docker stops every container"],
  "docker.swarm": ["docker", "a Swarm publishes ports and uses ranges of its own beside ours"],
  "docker.userland-proxy": [
    "docker",
    "each port that Docker publishes through it costs a process, and hides the client",
  ],
  "range.vip": ["range", "an address that means two things reaches the wrong one"],
  "range.overlay": ["range", "an address that means two things reaches the wrong one"],
  "vip.reach": ["vip", "an address of loopback means another host to each who uses it"],
  "gateway.answers": ["gateway", "containers of a bridge ask its gateway for names"],
  "upstream.answers": ["upstream", "names outside the zone are asked there"],
  "source.fresh": ["source", "a stale source keeps what is gone, and misses what is new"],
  "container.names": ["container", "who asks elsewhere does not find services by name"],
  "kernel.data-plane": ["kernel", "the kernel carries traffic at a fraction of the proxy's cost"],
  "kernel.forwarding": ["kernel", "a kernel that forwards nothing leads nobody to a container"],
  "kernel.underlay": ["kernel", "packets between hosts go that way"],
  "kernel.encryption": ["kernel", "an encrypted network is carried by WireGuard, or not at all"],
  "network.carried": [
    "network",
    "a network that is not carried here is reached through daemons, not directly",
  ],
  "mtu.path": ["mtu", "where large packets vanish, connections open and then hang"],
  "peer.there": ["peer", "what this host does not reach, its proxy cannot use"],
  "peer.back": ["peer", "a host that does not reach this one takes its replicas out"],
  "clock.skew": [
    "clock",
    "certificates and the newest declaration of a service are judged by the time of day",
  ],
  "version.skew": ["version", "hosts of different versions work together, with what the older one knows"],
  "trust.certificate": ["trust", "a host whose certificate has ended is refused by all others"],
  "state.data-dir": ["state", "identity, drains and claims would be lost by a restart"],
  "state.space": ["state", "on a full disk no state is kept"],
  "port.free": ["port", "a port that another program has cannot be served"],
} as const satisfies Readonly<Record<string, readonly [DoctorArea, string]>>;

/** The name of a check that is in the table. */
export type CheckId = keyof typeof CHECKS;

/** What came out of one. */
export interface Outcome extends Pick<DoctorCheck, "subject" | "state" | "text"> {
  /** Nothing to do unless told. */
  readonly remedy?: string | null;
}

/** Makes a check of what came out. */
export function made(id: CheckId, { subject, state, text, remedy = null }: Outcome): DoctorCheck {
  const [area, why] = CHECKS[id];
  return { area, subject, state, text, remedy, id, why };
}

/** Why a problem of each area matters. */
const WHY_BY_AREA: Readonly<Record<ProblemLine["area"], string>> = {
  label: "what a label says and nobody understands is not done",
  port: "a port that cannot be led to its service is not served",
  bind: "what cannot be listened on is not served",
  state: "what is not kept is lost by a restart",
  service: "its hosts do not agree on it, or what it asks for cannot be had",
  source: "what is not understood of a source is left out",
  network: "an address that means two things reaches the wrong one",
  trust: "a host that is not trusted is alone",
  tls: "clients refuse a certificate that does not count",
  log: "requests are not written down",
  upstream: "names outside the zone are asked there",
  kernel: "what the kernel does not take the proxy has to do, or nobody",
};

/** Makes a check of a problem that no other check tells of. */
export function problemCheck({ area, subject, text }: ProblemLine, state: DoctorCheck["state"]): DoctorCheck {
  return { area, subject, state, text, remedy: null, id: `problem.${area}`, why: WHY_BY_AREA[area] };
}

/** Names that one row holds; beyond, they are counted. */
const NAMED_MAX = 8;

/** Some names as text. */
export function listed(names: readonly string[]): string {
  const named = names.slice(0, NAMED_MAX).join(", ");
  return names.length > NAMED_MAX ? `${named} and ${names.length - NAMED_MAX} more` : named;
}
