/**
 * Engine: what doctor says of Docker: whether it answers, how it is set up, and which ranges it may give to networks.
 *
 * Docker without a word of ours still runs its containers, and the daemon its static services; so most of this is a
 * warning. What cannot be told from outside the engine is not guessed: its iptables option shows only in daemon.json,
 * which a container sees only when it is mounted.
 *
 * Pure. The daemon gathers the facts.
 */

import type { EngineDescription } from "../../model/engine.ts";
import type { DoctorCheck } from "../contract-doctor.ts";

import { made } from "./catalogue.ts";

/** Options of daemon.json that matter here; null for those that it does not hold. */
export interface EngineOptions {
  readonly iptables: boolean | null;
  readonly userlandProxy: boolean | null;
}

/** What was found of Docker. */
export type EngineFacts =
  /** Switched off, or no socket where one is looked for. */
  | { readonly kind: "none"; readonly reason: string; readonly isMeant: boolean }
  | { readonly kind: "silent"; readonly at: string; readonly failure: string }
  | {
      readonly kind: "there";
      readonly at: string;
      readonly description: EngineDescription;
      /** Null where daemon.json cannot be read from here. */
      readonly options: EngineOptions | null;
    };

/** Ranges that an engine takes networks from when nobody told it otherwise (moby, ipamutils). */
export const DEFAULT_ENGINE_POOLS: readonly string[] = ["172.16.0.0/12", "192.168.0.0/16"];

/** The oldest API that has all that is used (Docker 20.10). */
const API_LEAST = [1, 41] as const;

/** All checks of it. @param kernel  whether the kernel is to forward */
export function judgeEngine(facts: EngineFacts, kernel: boolean): readonly DoctorCheck[] {
  switch (facts.kind) {
    case "none": {
      const { reason, isMeant } = facts;
      const text = `no containers are looked at: ${reason}`;
      const remedy = isMeant ? null : "mount /var/run/docker.sock, or name the socket in docker.socket";
      return [made("docker.reachable", { subject: "docker", state: isMeant ? "ok" : "warn", text, remedy })];
    }
    case "silent": {
      const { at, failure } = facts;
      return [
        made("docker.reachable", { subject: at, state: "fail", text: failure, remedy: remedyFor(failure) }),
      ];
    }
    case "there":
      return ofEngine(facts, kernel);
  }
}

function remedyFor(failure: string): string {
  if (/EACCES|EPERM/.test(failure))
    return "run the daemon as root, or as a member of the group that owns the socket";
  return "start Docker (systemctl start docker), or name its socket in docker.socket";
}

function ofEngine(
  { at, description, options }: EngineFacts & { readonly kind: "there" },
  kernel: boolean,
): readonly DoctorCheck[] {
  const { version, operatingSystem, isRootless } = description;
  const mode = isRootless ? ", rootless" : "";
  const where = operatingSystem === "" ? "" : ` on ${operatingSystem}`;
  const text = `Docker ${version}${where}${mode} answers`;
  return [
    made("docker.reachable", { subject: at, state: "ok", text }),
    ofVersion(description),
    ...(kernel ? ofFirewall(description, options) : []),
    ...ofLiveRestore(description),
    ...ofSwarm(description),
    ...ofUserlandProxy(options),
  ];
}

function ofVersion({ version, api }: EngineDescription): DoctorCheck {
  const [major = 0, minor = 0] = api.split(".").map(Number);
  const isEnough = major > API_LEAST[0] || (major === API_LEAST[0] && minor >= API_LEAST[1]);
  const subject = "docker version";
  if (isEnough) return made("docker.version", { subject, state: "ok", text: `${version}, API ${api}` });
  const has = api === "" ? "tells no API" : `has API ${api}`;
  const text = `${version} ${has}; expected ${API_LEAST.join(".")} or newer`;
  return made("docker.version", { subject, state: "fail", text, remedy: "upgrade Docker to 20.10 or newer" });
}

function ofFirewall({ firewall }: EngineDescription, options: EngineOptions | null): readonly DoctorCheck[] {
  const subject = "docker firewall";
  if (options?.iptables === false) {
    const text =
      "Docker makes no rules (iptables is false in daemon.json): what containers send out keeps its address";
    const remedy = 'take "iptables": false out of daemon.json, unless the host\'s own rules do that work';
    return [made("docker.firewall", { subject, state: "warn", text, remedy })];
  }
  if (firewall.startsWith("nftables")) {
    const text = "Docker's rules are of nftables, where no other program can have packets accepted";
    const remedy =
      'if packets between hosts are dropped: "bridge-accept-fwmark" in daemon.json (see docs/troubleshooting.md)';
    return [made("docker.firewall", { subject, state: "warn", text, remedy })];
  }
  const text = "Docker's rules are of iptables: those of this daemon go into its chain DOCKER-USER";
  return [made("docker.firewall", { subject, state: "ok", text })];
}

function ofLiveRestore({ liveRestore }: EngineDescription): readonly DoctorCheck[] {
  if (liveRestore === null) return [];
  const text = liveRestore
    ? "containers live on while Docker restarts"
    : "a restart of Docker stops all containers";
  // Off is Docker's default, and for many as good: only told.
  return [made("docker.live-restore", { subject: "live-restore", state: "ok", text })];
}

function ofSwarm({ inSwarm }: EngineDescription): readonly DoctorCheck[] {
  if (!inSwarm) return [];
  const text = "this engine is in a Swarm: what it publishes, and its networks, stay Swarm's";
  const remedy = "once its services have moved: docker swarm leave (see docs/from-swarm.md)";
  return [made("docker.swarm", { subject: "swarm", state: "warn", text, remedy })];
}

function ofUserlandProxy(options: EngineOptions | null): readonly DoctorCheck[] {
  if (options?.userlandProxy === null || options === null) return [];
  const text = options.userlandProxy
    ? "ports that Docker itself publishes go through docker-proxy"
    : "ports that Docker itself publishes go through the kernel alone";
  return [made("docker.userland-proxy", { subject: "userland-proxy", state: "ok", text })];
}
