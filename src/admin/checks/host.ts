/**
 * Host: what a daemon needs of the host it runs on: rights, programs, the kernel's parts, room.
 *
 * The same judgement for a daemon that runs and for one that is to start. What only the kernel's data plane needs is
 * looked at where that is wanted, and costs a warning where it is missing: the proxy does the work instead. Only what
 * keeps the daemon itself from working is a failure.
 *
 * Pure. The daemon gathers the facts.
 */

import type { Right } from "../../model/right.ts";
import type { DoctorCheck } from "../contract-doctor.ts";

import { listed, made } from "./catalogue.ts";

/** A program of the host. */
export interface ProgramFacts {
  readonly name: string;
  /** The package that Debian has it in. */
  readonly package: string;
  /** What is done by it. */
  readonly use: string;
  /** As it says itself; null where it is missing or does not run. */
  readonly version: string | null;
}

/** A part of the kernel. `unknown`: a container without /lib/modules cannot tell of what is not loaded. */
export interface ModuleFacts {
  readonly name: string;
  readonly use: string;
  readonly finding: "loaded" | "loadable" | "missing" | "unknown";
}

/** Where the daemon keeps its state. */
export interface FolderFacts {
  readonly path: string;
  /** Why it cannot be written; null when it can. */
  readonly failure: string | null;
  /** Permission bits, and whether its group is root's; null where there is no such folder yet. */
  readonly mode: number | null;
  readonly isRootGroup: boolean;
  /** Free bytes for this user; null where that cannot be told. */
  readonly freeBytes: number | null;
}

/** What was found. */
export interface HostFacts {
  /** Null where there is no /proc. */
  readonly rights: ReadonlySet<Right> | null;
  readonly programs: readonly ProgramFacts[];
  readonly modules: readonly ModuleFacts[];
  /** net.ipv4.conf.all.rp_filter; null where it cannot be read. */
  readonly rpFilter: string | null;
  /** net.bridge.bridge-nf-call-iptables; null where the module is not loaded. */
  readonly bridgeFirewall: string | null;
  /** Entries of the table of connections; null where there is none. */
  readonly conntrack: { readonly count: number; readonly max: number } | null;
  /** Open files of the daemon; null while none runs, or where they cannot be counted. */
  readonly files: { readonly open: number; readonly max: number } | null;
  /** By how much the daemon's timers were late of late (99 of 100), milliseconds; null while none runs. */
  readonly delayMs: number | null;
  readonly dataDir: FolderFacts;
}

/** What is asked of the host. */
export interface HostNeeds {
  /** False where the configuration says that the proxy is to carry all. */
  readonly kernel: boolean;
  /** Ports below 1024 that are to be served, as text. */
  readonly lowPorts: readonly string[];
}

/** Shares of a table at which it is told, and at which it is too late. */
const NEARLY_FULL = 0.8;
const FULL = 0.97;
/** Enough for some thousand connections; Docker and systemd give a hundred times as many. */
const FILES_WANTED = 8192;
/** Timers that are later than a probe's patience. */
const DELAY_WARN_MS = 100;
const DELAY_FAIL_MS = 1000;
const MIB = 1024 * 1024;
/** State is some MiB, and twice that while it is written. */
const SPACE_WARN_BYTES = 200 * MIB;
const SPACE_FAIL_BYTES = 10 * MIB;

/** All checks of it. */
export function judgeHost(facts: HostFacts, needs: HostNeeds): readonly DoctorCheck[] {
  return [
    ...ofDelay(facts),
    ...ofFiles(facts),
    ...ofRights(facts, needs),
    ...(needs.kernel ? [...ofPrograms(facts), ...ofModules(facts), ...ofSettings(facts)] : []),
    ...ofConntrack(facts),
    ...ofDataDir(facts.dataDir),
  ];
}

function ofDelay({ delayMs }: HostFacts): readonly DoctorCheck[] {
  if (delayMs === null) return [];
  const state = delayMs >= DELAY_FAIL_MS ? "fail" : delayMs >= DELAY_WARN_MS ? "warn" : "ok";
  const remedy = "give it more of the processor: less on this host, or a larger share (docker: --cpu-shares)";
  const text = `its timers are late by ${Math.round(delayMs)} ms or less, 99 times of 100`;
  return [
    made("daemon.delay", { subject: "event loop", state, text, remedy: state === "ok" ? null : remedy }),
  ];
}

function ofFiles({ files }: HostFacts): readonly DoctorCheck[] {
  if (files === null) return [];
  const { open, max } = files;
  const share = open / max;
  const text = `${open} of ${max} open files`;
  const remedy = "raise the limit (systemd: LimitNOFILE=65536, docker: --ulimit nofile=65536)";
  const check = { subject: "open files", text };
  if (share >= FULL) return [made("daemon.files", { ...check, state: "fail", remedy })];
  if (share >= NEARLY_FULL || max < FILES_WANTED)
    return [made("daemon.files", { ...check, state: "warn", remedy })];
  return [made("daemon.files", { ...check, state: "ok" })];
}

function ofRights({ rights }: HostFacts, { kernel, lowPorts }: HostNeeds): readonly DoctorCheck[] {
  if (rights === null) return [];
  const checks: DoctorCheck[] = [];
  const admin = { subject: "NET_ADMIN" } as const;
  if (rights.has("NET_ADMIN"))
    checks.push(
      made("rights.net-admin", { ...admin, state: "ok", text: "may change links, routes and rules" }),
    );
  else if (kernel) {
    const text = "may not change links, routes and rules";
    const remedy = "give the daemon NET_ADMIN (in Docker: --cap-add NET_ADMIN)";
    checks.push(made("rights.net-admin", { ...admin, state: "warn", text, remedy }));
  }
  if (kernel && rights.has("NET_ADMIN") && !rights.has("NET_RAW")) {
    const text =
      "may not send raw packets: Docker's firewall cannot be told, nor paths between hosts be measured";
    const remedy = "give the daemon NET_RAW (in Docker: --cap-add NET_RAW)";
    checks.push(made("rights.net-raw", { subject: "NET_RAW", state: "warn", text, remedy }));
  }
  if (lowPorts.length === 0) return checks;
  const low = { subject: "NET_BIND_SERVICE" } as const;
  if (rights.has("NET_BIND_SERVICE"))
    return [...checks, made("rights.low-ports", { ...low, state: "ok", text: "may serve ports below 1024" })];
  const text = `may not serve ports below 1024, and is told to: ${listed(lowPorts)}`;
  const remedy =
    "give the daemon NET_BIND_SERVICE (in Docker: --cap-add NET_BIND_SERVICE), or name other ports";
  return [...checks, made("rights.low-ports", { ...low, state: "warn", text, remedy })];
}

function ofPrograms({ programs }: HostFacts): readonly DoctorCheck[] {
  const there = programs.filter(({ version }) => version !== null);
  const found = there.map(({ name, version }) => `${name} ${version}`).join(", ");
  const missing = programs.filter(({ version }) => version === null);
  return [
    ...(there.length === 0 ? [] : [made("program.there", { subject: "programs", state: "ok", text: found })]),
    ...missing.map(({ name, package: from, use }) => {
      const remedy = `install the package ${from}`;
      return made("program.there", { subject: name, state: "warn", text: `is not there: ${use}`, remedy });
    }),
  ];
}

function ofModules({ modules }: HostFacts): readonly DoctorCheck[] {
  const wanted = (finding: ModuleFacts["finding"]): readonly ModuleFacts[] => {
    return modules.filter((one) => one.finding === finding);
  };
  const there = [...wanted("loaded"), ...wanted("loadable")];
  const row = (some: readonly ModuleFacts[], text: string): readonly DoctorCheck[] => {
    const subject = some.map(({ name }) => name).join(", ");
    return some.length === 0 ? [] : [made("host.module", { subject, state: "ok", text })];
  };
  return [
    ...row(there, "the kernel has it"),
    ...row(
      wanted("unknown"),
      "cannot be told from here while it is not loaded; the kernel loads it when needed",
    ),
    ...wanted("missing").map(({ name, use }) => {
      const remedy = `take a kernel with the module ${name} (that of the distribution has it)`;
      return made("host.module", {
        subject: name,
        state: "warn",
        text: `this kernel has none: ${use}`,
        remedy,
      });
    }),
  ];
}

function ofSettings({ rpFilter, bridgeFirewall }: HostFacts): readonly DoctorCheck[] {
  const checks: DoctorCheck[] = [];
  if (rpFilter !== null) {
    const words: Readonly<Record<string, string>> = { "0": "off", "1": "strict", "2": "loose" };
    const own = rpFilter === "1" ? "; it is made loose on the devices of overlay networks" : "";
    const text = `the check of sources is ${words[rpFilter] ?? rpFilter}${own}`;
    checks.push(made("host.rp-filter", { subject: "net.ipv4.conf.all.rp_filter", state: "ok", text }));
  }
  const sees =
    bridgeFirewall === "1" ? "goes through the host's firewall" : "does not meet the host's firewall";
  const text = `traffic between containers of one bridge ${sees}; services work either way`;
  const subject = "net.bridge.bridge-nf-call-iptables";
  return [...checks, made("host.bridge-firewall", { subject, state: "ok", text })];
}

function ofConntrack({ conntrack }: HostFacts): readonly DoctorCheck[] {
  if (conntrack === null || conntrack.max === 0) return [];
  const { count, max } = conntrack;
  const share = count / max;
  const state = share >= FULL ? "fail" : share >= NEARLY_FULL ? "warn" : "ok";
  const remedy = `sysctl -w net.netfilter.nf_conntrack_max=${max * 2}, and write it to /etc/sysctl.d`;
  const text = `${count} of ${max} connections`;
  return [
    made("host.conntrack", {
      subject: "connection table",
      state,
      text,
      remedy: state === "ok" ? null : remedy,
    }),
  ];
}

function ofDataDir({
  path: subject,
  failure,
  mode,
  isRootGroup,
  freeBytes,
}: FolderFacts): readonly DoctorCheck[] {
  if (failure !== null) {
    const remedy = `make it a folder that the daemon's user owns: install -d -m 700 ${subject}`;
    return [
      made("state.data-dir", { subject, state: "fail", text: `cannot be written: ${failure}`, remedy }),
    ];
  }
  return [...ofMode(subject, mode, isRootGroup), ...ofSpace(subject, freeBytes)];
}

function ofMode(subject: string, mode: number | null, isRootGroup: boolean): readonly DoctorCheck[] {
  if (mode === null)
    return [made("state.data-dir", { subject, state: "ok", text: "is not there yet, and will be made" })];
  // Root's group is as good as root: the image lets it in, for its root has no other right to.
  if ((mode & (isRootGroup ? 0o002 : 0o022)) === 0)
    return [made("state.data-dir", { subject, state: "ok", text: "can be written, and by nobody else" })];
  const text = `others may write there (mode ${(mode & 0o777).toString(8)}): who does can take this host's identity`;
  return [made("state.data-dir", { subject, state: "warn", text, remedy: `chmod 700 ${subject}` })];
}

function ofSpace(subject: string, freeBytes: number | null): readonly DoctorCheck[] {
  if (freeBytes === null) return [];
  const state = freeBytes < SPACE_FAIL_BYTES ? "fail" : freeBytes < SPACE_WARN_BYTES ? "warn" : "ok";
  const free =
    freeBytes < 1024 * MIB
      ? `${Math.floor(freeBytes / MIB)} MiB`
      : `${Math.floor(freeBytes / (1024 * MIB))} GiB`;
  const remedy = state === "ok" ? null : "make room on that disk, or move node.dataDir";
  return [made("state.space", { subject, state, text: `${free} free`, remedy })];
}
