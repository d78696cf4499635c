/**
 * Report: what this daemon says of itself: what it chose, where it listens, what is wrong with it.
 *
 * Facts that are settled at the start are noted here as they are; those that move (problems of sources, listeners,
 * ejections) are looked up when somebody asks, so there is no second copy to keep true.
 *
 * Touches: nothing; it reads the parts it is handed.
 */

import type { Choice, ListenReport, ProblemLine, ResolveReport, StatusReport } from "../admin/contract.ts";
import type { CertificateLine } from "../admin/contract-trust.ts";
import { upstreamProblems, type UpstreamFacts } from "../admin/doctor.ts";
import type { Snapshot, TrustSnapshot } from "../admin/handlers.ts";
import { Failure } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import { explainAnswer } from "../dns/names/explain.ts";
import type { Asker } from "../dns/names/lookup.ts";
import type { DnsServer } from "../dns/server.ts";
import type { KernelFacts } from "../kernel/given.ts";
import type { Credential } from "../model/credential.ts";
import type { NamePath } from "../model/endpoint.ts";
import type { Event } from "../model/event.ts";
import type { Node } from "../node.ts";
import type { EjectionReason } from "../proxy/choice/outlier.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Credentials } from "../trust/credentials.ts";

import type { DaemonOptions } from "./options.ts";
import type { Served } from "./served.ts";

type Listening = () => readonly string[];

/** Why this host's proxy leaves a replica alone, in the words of `service explain`. */
const EJECTION_TEXT: Readonly<Record<EjectionReason, string>> = {
  connect: "it took no connection from this host",
  late: "it did not answer this host in time",
  errors: "its last answers to this host were all errors",
  broken: "it broke off its last answers to this host",
};

/** The facts of one daemon. */
export class Report {
  readonly #options: DaemonOptions;
  readonly #startedAtMs: number;
  readonly #choices: Choice[] = [];
  readonly #problems: ProblemLine[] = [];
  readonly #listeningByPart = new Map<keyof ListenReport, Listening>();

  /** The host's own addresses on bridge networks, where DNS is to be served. */
  gateways: readonly string[] = [];
  /** To be called when somebody asks for names of whom no source has told. */
  onStranger: () => void = () => undefined;
  /** How this host's containers ask for names. */
  namePaths: () => Promise<readonly NamePath[]> = async () => [];
  /** Bridge gateways on which DNS cannot be served at the moment. */
  unservedGateways: readonly ProblemLine[] = [];
  /** Who carries traffic, and why. */
  dataPlane: () => StatusReport["dataPlane"] = () => ({ mode: "proxy", reason: "starting" });
  /** What the kernel could not be made to do. */
  kernelProblems: () => readonly ProblemLine[] = () => [];
  /** What the kernel does for this host's networks; null where the proxy carries all. */
  kernelFacts: () => KernelFacts | null = () => null;
  /** Why the access log cannot be written at the moment; null when it can. */
  accessProblem: () => string | null = () => null;
  /** Why the collector does not take spans at the moment; null when it does. */
  tracingProblem: () => string | null = () => null;
  /** Why the state cannot be kept at the moment; null when it is. */
  saveProblem: string | null = null;
  /** What is wrong with the certificates of the HTTPS ingress at the moment. */
  certificateProblems: () => readonly Pick<ProblemLine, "subject" | "text">[] = () => [];
  /** What is wrong with this node's membership at the moment; null when nothing is. */
  trustProblem: string | null = null;
  /** True for a node that is told of hosts to join and never met one: without a token it began a cluster of its own. */
  isStray = false;

  constructor(options: DaemonOptions, startedAtMs: number) {
    this.#options = options;
    this.#startedAtMs = startedAtMs;
  }

  /** Notes what `auto` became; what was noted of the same key before no longer holds. */
  choose(key: string, value: string, reason: string): void {
    const at = this.#choices.findIndex((choice) => choice.key === key);
    this.#choices.splice(at === -1 ? this.#choices.length : at, 1, { key, value, reason });
  }

  /** Notes something wrong that stays so until the next start. */
  problem(problem: ProblemLine): void {
    this.#problems.push(problem);
  }

  /** Notes where a part listens. */
  listen(part: keyof ListenReport, addresses: Listening): void {
    this.#listeningByPart.set(part, addresses);
  }

  /** What `auto` became, to be told at the start. */
  get choices(): readonly Choice[] {
    return this.#choices;
  }

  /** Where everything listens now. */
  get listening(): ListenReport {
    const at = (part: keyof ListenReport): readonly string[] => this.#listeningByPart.get(part)?.() ?? [];
    return { mesh: at("mesh"), dns: at("dns"), admin: at("admin"), ingress: at("ingress") };
  }

  /** All that the admin API tells, at this moment. */
  snapshot(parts: {
    readonly served: Served;
    readonly node: Node;
    readonly credentials: Credentials;
    readonly proxy: Proxy;
    readonly dns: DnsServer;
    readonly events: readonly Event[];
  }): Snapshot {
    const { served, node, credentials, proxy, dns, events } = parts;
    const { config, version } = this.#options;
    const stats = proxy.stats();
    return {
      atMs: nowMs(),
      view: served.view,
      nodeName: config.node.name,
      version,
      startedAtMs: this.#startedAtMs,
      dataPlane: this.dataPlane(),
      choices: this.#choices,
      listen: this.listening,
      sources: node.found.all.map(({ source, endpoints, stale }) => {
        return { name: source, endpoints: endpoints.length, stale };
      }),
      problems: [
        ...this.#problems,
        ...this.#ofState(),
        ...this.#ofAccess(),
        ...this.kernelProblems(),
        ...this.#ofTrust(served, credentials),
        ...this.unservedGateways,
        ...dns.unserved.map(({ address, text }): ProblemLine => {
          return { area: "bind", subject: renderHostPort(address), text };
        }),
        ...upstreamProblems(upstreamsOf(dns)),
        ...node.problems.map(({ subject, text }): ProblemLine => ({ area: "source", subject, text })),
        ...this.certificateProblems().map(({ subject, text }): ProblemLine => ({
          area: "tls",
          subject,
          text,
        })),
        ...served.table.problems.map((text): ProblemLine => ({ area: "port", subject: "routes", text })),
        ...stats.failures.map(({ address, port, text }): ProblemLine => {
          return { area: "bind", subject: `${address}:${port}`, text };
        }),
      ],
      warnings: [],
      trust: trustOf(node, credentials),
      roundTripMs: (id) => node.gossip.standing(id)?.rttMs ?? null,
      healthScore: node.gossip.healthScore,
      hiderByService: new Map(
        node.found.clients.flatMap(({ name, hides = [] }) => hides.map((key) => [key, name] as const)),
      ),
      ejections: stats.ejected.map(({ id, untilMs, reason }) => {
        return { replica: replicaOf(id), reason: EJECTION_TEXT[reason], untilMs };
      }),
      events,
    };
  }

  #ofState(): ProblemLine[] {
    if (this.saveProblem === null) return [];
    const text = `drains and claims would be lost by a restart: ${this.saveProblem}`;
    return [{ area: "state", subject: this.#options.config.node.dataDir, text }];
  }

  #ofAccess(): ProblemLine[] {
    const [access, tracing] = [this.accessProblem(), this.tracingProblem()];
    const problems: ProblemLine[] = [];
    if (access !== null) problems.push({ area: "log", subject: "log.access", text: access });
    if (tracing !== null) problems.push({ area: "log", subject: "tracing.endpoint", text: tracing });
    return problems;
  }

  #ofTrust({ view }: Served, { clusterId }: Credentials): ProblemLine[] {
    const subject = this.#options.config.node.name;
    if (this.trustProblem !== null) return [{ area: "trust", subject, text: this.trustProblem }];
    if (!this.isStray || view.members.some(({ self }) => !self)) return [];
    const text = `this host is in a cluster of its own (${clusterId}), and those hosts are not; run skein join here`;
    return [{ area: "trust", subject: "mesh.join", text }];
  }

  /** What DNS would answer. @throws Failure when the type or the asker is unknown */
  resolve(
    served: Served,
    node: Node,
    asked: { name: string; type: string; as: string | null },
  ): ResolveReport {
    const { asker, text } = askerNamed(node, asked.as);
    const explained = explainAnswer(served.zone, asked.name, asked.type, asker);
    if (!explained.ok) throw explained.failure;
    return { ...explained.value, as: text };
  }
}

/** The upstreams of DNS, as the admin API tells of them. */
export function upstreamsOf(dns: DnsServer): readonly UpstreamFacts[] {
  return dns.stats().forwarding.upstreams.map(({ address, state }) => {
    return { address: renderHostPort(address), state };
  });
}

function trustOf(node: Node, credentials: Credentials): TrustSnapshot {
  const { clusterId, role, credential, charter, newestRoot } = credentials;
  const generationByIssuer = new Map(charter.roots.map((root) => [root.fingerprint, root.generation]));
  const lineOf = ({ issuer, notAfterMs }: Credential): CertificateLine => {
    return { endsAtMs: notAfterMs, issuerGeneration: generationByIssuer.get(issuer) ?? null };
  };
  return {
    clusterId,
    role,
    certificate: lineOf(credential),
    authorityGeneration: newestRoot.generation,
    certificateOf(id) {
      const of = id === credentials.id ? credential : node.gossip.credentialOf(id);
      return of === undefined ? null : lineOf(of);
    },
  };
}

/** Whose port an upstream is: its id is `<replica>:<port>`, and replica ids hold no colon. */
export function replicaOf(upstreamId: string): string {
  return upstreamId.slice(0, upstreamId.lastIndexOf(":"));
}

function askerNamed(node: Node, as: string | null): { readonly asker: Asker; readonly text: string } {
  if (as === null) return { asker: { kind: "host" }, text: "this host" };
  const client = node.found.client(as);
  if (client === null) {
    const known = node.found.clientNames.slice(0, 10).join(", ");
    const expected =
      known === "" ? "there is none on this host" : `expected one of this host, such as ${known}`;
    throw new Failure("not-found", `container is "${as}"; ${expected}`);
  }
  const { name, networks, isolated } = client;
  const text = `container ${name} (networks ${networks.join(", ")})`;
  return { asker: { kind: "container", networks, isolated }, text };
}
