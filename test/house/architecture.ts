/**
 * Architecture: which folder may import what, which files touch the world, what a pure file may use.
 *
 * The tables here are the law; folders.ts, packages.ts, purity.ts and shape.ts are its readers. A change to a table
 * is a reviewed line, and its reason goes into ARCHITECTURE.md in the same commit.
 *
 * Shell files are two lists. An entry of SHELL_FILES that names no file is a violation, so the list cannot rot. An
 * entry of PLANNED_SHELL_FILES may be missing: the file is a shell as soon as it is written. Not one list with a
 * lenient mode: whoever runs the test could not tell a stale entry from a promise. The test prints what is still
 * planned.
 *
 * Pure.
 */

import { folderViolations } from "./folders.ts";
import type { FolderRule, Layout } from "./layout.ts";
import { packageViolations, type Manifest } from "./packages.ts";
import { purityViolations } from "./purity.ts";
import { shapeViolations } from "./shape.ts";
import { parseSources, type Texts, type Violation } from "./source.ts";

const SIBLING: FolderRule = { all: ["base", "model"], shell: ["runtime"] };
const CONTRACTS = [
  "admin/contract.ts",
  "admin/contract-trust.ts",
  "admin/contract-network.ts",
  "admin/contract-live.ts",
  "admin/contract-doctor.ts",
];
const FRONT: FolderRule = { all: ["base", "model", ...CONTRACTS] };
const EVERYTHING: FolderRule = { all: ["*"] };

const FOLDERS: Readonly<Record<string, FolderRule>> = {
  base: { all: [] },
  model: { all: ["base"] },
  runtime: { all: ["base", "model"] },
  source: SIBLING,
  health: SIBLING,
  catalog: SIBLING,
  gossip: SIBLING,
  mesh: SIBLING,
  trust: SIBLING,
  view: SIBLING,
  dns: SIBLING,
  proxy: SIBLING,
  kernel: SIBLING,
  admin: SIBLING,
  cli: FRONT,
  dashboard: FRONT,
  // The configuration outgrew one file; as a folder it keeps the rights that one file would have.
  config: EVERYTHING,
  // What a node is told and what it wants, apart from the node: the daemon and the simulator need no more.
  "step.ts": { all: ["base", "model"], pureOf: ["catalog", "health", "gossip", "trust", "view"] },
  "node.ts": { all: ["base", "model", "step.ts"], pureOf: ["catalog", "health", "gossip", "trust", "view"] },
  // The composition root outgrew one file too; each file of it wires one side of the picture.
  daemon: EVERYTHING,
  "main.ts": EVERYTHING,
};

/** Files that touch the world and exist, by folder; an entry that ends in "/" is a whole folder. */
export const SHELL_FILES: readonly string[] = inFolders({
  admin: ["answers", "app", "assets", "call", "changes", "follow", "listen", "server", "unread", "watch"],
  cli: ["anew", "screen", "cli", "client", "context", "progress", "stream", "commands/"],
  config: ["file", "load", "secret-file"],
  daemon: [
    "askers",
    "base",
    "command",
    "consumers",
    "daemon",
    "departure",
    "doctor-facts",
    "doctor-host",
    "doctor-peers",
    "doctor-start",
    "doors",
    "driver",
    "enrolments",
    "gateways",
    "handover",
    "happenings",
    "kernel",
    "kernel-counts",
    "kernel-ground",
    "lingering",
    "local",
    "membership",
    "mesh",
    "network-commands",
    "no-kernel",
    "offline",
    "options",
    "pools",
    "purge",
    "ranges",
    "report",
    "running-kernel",
    "sampler",
    "served",
    "sources",
    "state",
    "traces",
    "traffic",
    "traffic-counts",
    "trust-commands",
    "upkeep",
    "upstreams",
    "wanted",
  ],
  dashboard: ["main", "page/"],
  dns: [
    "forward/asking",
    "forward/exchange",
    "forward/forward",
    "forward/roster",
    "forward/upstream",
    "listeners",
    "responder",
    "server",
    "tcp/connections",
    "tcp/tcp",
    "tcp/turns",
    "udp",
    "waiting",
  ],
  health: ["probe"],
  kernel: [
    "accept/accept",
    "accept/docker-user",
    "detect",
    "forwarding",
    "guard/guard",
    "lag",
    "links/iproute",
    "links/links",
    "links/settings",
    "links/underlay",
    "migration",
    "mtu",
    "observe",
    "parts",
    "pool",
    "pool6",
    "reconcile",
    "rights",
    "rules/conntrack",
    "rules/nft",
    "rules/rules",
    "wireguard/device",
    "wireguard/key",
    "wireguard/wireguard",
  ],
  mesh: [
    "advertise",
    "datagram-desk",
    "datagrams",
    "dial",
    "frame-writer",
    "gate",
    "guests",
    "lanes",
    "links",
    "listener",
    "listening",
    "questions",
    "ready",
    "receipts",
    "refusals",
    "secure",
    "stream",
    "stream-serving",
    "streams",
    "upgrade",
    "valve",
    "way-back",
    "websocket",
  ],
  proxy: [
    "connect",
    "frontends",
    "proxy",
    "access/sink",
    "access/writer",
    "choice/attempts",
    "choice/readmission",
    "http/agent",
    "http/body",
    "http/client",
    "http/exchange",
    "http/http",
    "http/own-answer",
    "http/pipeline",
    "http/upgrade",
    "http/websockets",
    "http/wire/connection",
    "http/wire/forwarder",
    "http/wire/pool",
    "http/wire/reservoir",
    "http/wire/turn",
    "listen/arrival",
    "listen/connections",
    "listen/listener",
    "listen/listeners",
    "tcp/tcp",
    "trace/exporter",
    "udp/flow",
    "udp/leg",
    "udp/sockets",
    "udp/spread",
    "udp/udp",
    "udp/ways",
    "tls/certificates",
    "tls/hello",
    "tls/https",
    "tls/sessions",
  ],
  source: ["docker/client", "docker/networks", "docker/watch"],
  trust: [
    "authority",
    "backup",
    "credentials",
    "enrolment",
    "enrolment-call",
    "joining",
    "keyfile",
    "keyring",
    "membership",
    "seals",
    "vault",
  ],
  ".": ["main", "runtime/"],
});

/** Files that will touch the world and may not be written yet. Move an entry up when its file is there. */
export const PLANNED_SHELL_FILES: readonly string[] = inFolders({});

function inFolders(filesByFolder: Readonly<Record<string, readonly string[]>>): readonly string[] {
  return Object.entries(filesByFolder).flatMap(([folder, files]) =>
    files.map((file) => (folder === "." ? file : `${folder}/${file}`)),
  );
}

export const LAYOUT: Layout = {
  folders: FOLDERS,
  shellFiles: SHELL_FILES,
  plannedShellFiles: PLANNED_SHELL_FILES,
  // Values that depend on their arguments alone. Not node:path: `resolve` reads the working directory. Not `sign` and
  // `randomBytes` of node:crypto: an ECDSA signature and a random number differ from call to call.
  pureModules: {
    "node:buffer": ["Buffer", "isAscii", "isUtf8"],
    "node:crypto": [
      "createHash",
      "createHmac",
      "createPrivateKey",
      "createPublicKey",
      "hash",
      "timingSafeEqual",
      "verify",
      "X509Certificate",
    ],
    "node:net": ["BlockList", "isIP", "isIPv4", "isIPv6"],
    "node:url": ["domainToASCII", "domainToUnicode"],
    "node:util": ["isDeepStrictEqual", "stripVTControlCharacters", "types"],
    "node:util/types": "all",
  },
  // Deterministic packages. dns2 only for its Packet: the rest of it opens sockets.
  purePackages: {
    dns2: { names: ["Packet"], folders: ["dns"] },
    valibot: { names: "all", folders: Object.keys(FOLDERS) },
    yaml: { names: ["parse", "parseDocument", "stringify", "LineCounter"], folders: Object.keys(FOLDERS) },
  },
};

/**
 * Every violation of the architecture in a tree.
 *
 * @param texts  all files of the project by path; TypeScript below src, test, config and build is read
 */
export function checkArchitecture(
  texts: Texts,
  manifest: Manifest,
  layout: Layout = LAYOUT,
): readonly Violation[] {
  const sources = parseSources(texts, ["src", "test", "config", "build"]);
  const own = sources.filter((source) => source.path.startsWith("src/"));
  return [
    ...folderViolations(own, [...texts.keys()], layout),
    ...packageViolations(sources, manifest),
    ...purityViolations(own, layout),
    ...shapeViolations(own),
  ];
}

/** Each rule as the sentence that its test is named by. */
export const ARCHITECTURE_RULES: Readonly<Record<string, string>> = {
  "unknown-folder": "every file of src lies in a folder of the table",
  "folder-import": "every import follows the folder table",
  "stale-shell-entry": "every listed shell file exists",
  "package-folder": "each npm package is imported in one folder only",
  "undeclared-package": "every imported package is declared in package.json",
  "unused-dependency": "every package that is shipped is imported somewhere in src",
  "impure-module": "a pure file takes only deterministic names from node: modules and packages",
  "ambient-clock": "a pure file does not read the clock",
  "ambient-randomness": "a pure file does not roll dice",
  "ambient-timer": "a pure file does not wait",
  "ambient-world": "a pure file does not reach for process, console or the network",
  "import-cycle": "no two files of src import each other, directly or round a circle",
  "unresolved-import": "every relative import means a file",
  barrel: "no file only passes on what others export",
  enum: "no enum",
  "default-export": "no default export",
  "side-effect-import": "no import for its side effect",
  "module-state": "no mutable state at module level",
  "refused-name": "no file name that says nothing",
};
