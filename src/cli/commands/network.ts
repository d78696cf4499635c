/**
 * Network: `skein network ls`, `inspect`, `create` and `rm`: overlay networks, and names that services use.
 *
 * What is wrong with a network stands below its table, for a network that is not made real looks like any other until
 * somebody starts a container on it.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type {
  NetworkDetail,
  NetworkHost,
  NetworkLine,
  NetworkRemoval,
  NetworkRequest,
  NetworkResult,
} from "../../admin/contract-network.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import { pathTo } from "../describe.ts";
import { progress } from "../progress.ts";
import { printable, renderPairs, renderTable, type Cell, type Column, type Style } from "../render.ts";

const COLUMNS: readonly Column<NetworkLine>[] = [
  { title: "NAME", cell: ({ name }) => name, shrinks: true },
  { title: "KIND", cell: ({ kind }) => kind },
  { title: "RANGE", cell: ({ range }) => range ?? "" },
  { title: "ENCRYPTED", cell: ({ kind, encrypted }) => (kind === "overlay" ? yesNo(encrypted) : "") },
  { title: "SLICES", cell: ({ slices }) => (slices === null ? "" : `${slices.used}/${slices.total}`) },
  { title: "SERVICES", cell: ({ services }) => String(services) },
  { title: "READY", cell: ({ ready, replicas }) => `${ready}/${replicas}` },
  { title: "STATE", cell: stateCell },
  { title: "RANGE6", cell: ({ range6 }) => range6 ?? "", wideOnly: true },
  { title: "VNI", cell: ({ vni }) => (vni === null ? "" : String(vni)), wideOnly: true },
];

const HOSTS: readonly Column<NetworkHost>[] = [
  { title: "NODE", cell: ({ node }) => node, shrinks: true },
  { title: "SLICE", cell: ({ prefix, tentative }) => (tentative ? `${prefix} (tentative)` : prefix) },
  { title: "SLICE6", cell: ({ prefix6 }) => prefix6 ?? "", wideOnly: true },
  { title: "ADDRESSES", cell: ({ addresses }) => `${addresses.used}/${addresses.total}` },
  {
    title: "CARRIES",
    cell: ({ carries }) => (carries ? { text: "yes", tone: "good" } : { text: "no", tone: "warn" }),
  },
  { title: "WHY", cell: ({ reason }) => reason ?? "" },
];

/** Adds the command and its subcommands. */
export function addNetwork(program: Command, act: Act): void {
  const network = program.command("network").description("overlay networks, and names that services use");
  network
    .command("ls")
    .description("list networks: range, slices in use, replicas, state")
    .addHelpText("after", "\nExamples:\n  skein network ls\n  skein network ls -o json")
    .action(act((session) => list(session)));
  network
    .command("inspect <network>")
    .description("all that is known of a network: each host's slice of it, and whether it carries it")
    .addHelpText("after", "\nExamples:\n  skein network inspect app")
    .action(act((session, command) => inspect(session, command.args[0] ?? "")));
  network
    .command("create <name>")
    .description("make an overlay network: every host gets a slice of its range and a Docker network <name>")
    .option("--subnet <range>", "private IPv4 range, such as 10.50.0.0/16; default one of overlay.pool")
    .option("--encrypted", "encrypt what crosses hosts (WireGuard); a host that cannot carries nothing of it")
    .option("--no-ipv6", "without IPv6 addresses")
    .addHelpText("after", CREATE_TEXT)
    .action(act((session, command) => create(session, command)));
  network
    .command("rm <network>")
    .description("remove an overlay network")
    .option("--force", "though replicas or containers are on it: they lose it when they stop")
    .addHelpText("after", "\nExamples:\n  skein network rm app\n\nManagers only.")
    .action(act((session, command) => remove(session, command)));
}

const CREATE_TEXT = `
Examples:
  skein network create app
  skein network create app --subnet 10.50.0.0/16 --encrypted
  docker run --network app nginx

Managers only. Creating the same network twice is harmless.`;

/** Writing the charter to a slow disk may take a moment. */
const CHANGE_DEADLINE_MS = 20_000;

async function list(session: Session): Promise<number> {
  const networks = await session.client.get<readonly NetworkLine[]>("/api/v1/networks");
  await show(session, {
    value: networks,
    table: (style) => renderTable(COLUMNS, networks, style),
    names: networks.map(({ name }) => name),
  });
  // The other formats have the problems in them.
  if (session.format !== "table" && session.format !== "wide") return 0;
  for (const { name, problems } of networks)
    for (const text of problems) tell(session, `network ${name}: ${text}`);
  return 0;
}

async function inspect(session: Session, name: string): Promise<number> {
  const network = await session.client.get<NetworkDetail>(pathTo("networks", name));
  await show(session, {
    value: network,
    table: (style) => {
      const head = detailText(network, style);
      return network.hosts.length === 0 ? head : `${head}\n${renderTable(HOSTS, network.hosts, style)}`;
    },
    names: [network.name],
  });
  return 0;
}

async function create(session: Session, command: Command): Promise<number> {
  const {
    subnet,
    encrypted = false,
    ipv6,
  } = command.opts<{
    readonly subnet?: string;
    readonly encrypted?: true;
    readonly ipv6: boolean;
  }>();
  const request: NetworkRequest = { name: command.args[0] ?? "", subnet: subnet ?? null, encrypted, ipv6 };
  const made = await progress(session, {
    text: `making network ${request.name}, and waiting for it on this host`,
    work: session.client.post<NetworkResult>("/api/v1/networks", request, CHANGE_DEADLINE_MS),
  });
  const { name, range, slices, created } = made;
  const cut = `${range}, ${slices.total} slices of /${slices.bits}, one for each host`;
  const text = created ? `network ${name} was made: ${cut}` : `network ${name} is there already: ${cut}`;
  await show(session, { value: made, table: () => `${printable(text)}\n`, names: [name] });
  if (!made.ready)
    tell(session, `it is not there on this host yet; see: skein network inspect ${name}, skein doctor`);
  return 0;
}

async function remove(session: Session, command: Command): Promise<number> {
  const { force = false } = command.opts<{ readonly force?: true }>();
  const path = `${pathTo("networks", command.args[0] ?? "")}${force ? "?force=true" : ""}`;
  const removed = await progress(session, {
    text: `removing network ${command.args[0] ?? ""}`,
    work: session.client.remove<NetworkRemoval>(path, CHANGE_DEADLINE_MS),
  });
  const { name, users } = removed;
  await show(session, {
    value: removed,
    table: () => `${printable(`network ${name} was removed`)}\n`,
    names: [name],
  });
  if (users.length > 0) tell(session, `still on it: ${users.join(", ")}`);
  return 0;
}

function detailText(network: NetworkDetail, style: Style): string {
  const { name, kind, range, range6, encrypted, slices, vni, problems, serviceKeys } = network;
  const isOverlay = kind === "overlay";
  return renderPairs(
    [
      ["network", [name]],
      ["kind", [isOverlay ? "overlay" : "named by services only"]],
      ["range", range === null ? [] : [range]],
      ["range6", range6 === null ? [] : [range6]],
      ["encrypted", isOverlay ? [yesNo(encrypted)] : []],
      ["slices", slices === null ? [] : [`${slices.used} of ${slices.total} in use, each a /${slices.bits}`]],
      ["number", vni === null ? [] : [String(vni)]],
      ["services", serviceKeys],
      ["replicas", [`${network.ready} ready of ${network.replicas}`]],
      ["problems", problems],
    ],
    style,
  );
}

function stateCell({ sound, problems }: NetworkLine): Cell {
  if (!sound) return { text: "not made real", tone: "bad" };
  return problems.length === 0 ? { text: "ok", tone: "good" } : { text: "problems", tone: "warn" };
}

function yesNo(value: boolean): string {
  return value ? "yes" : "no";
}
