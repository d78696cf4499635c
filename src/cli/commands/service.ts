/**
 * Service: `skein service ls` and `skein service inspect`.
 *
 * Touches: nothing but the daemon, through the session.
 */

import type { Command } from "commander";

import type { NetworkDetail } from "../../admin/contract-network.ts";
import type { ServiceDetail, ServiceLine } from "../../admin/contract.ts";
import { show, tell, type Act, type Session } from "../context.ts";
import {
  portText,
  publishText,
  replicaTable,
  routeText,
  servicePath,
  trafficTexts,
  vipTexts,
  pathTo,
} from "../describe.ts";
import { renderPairs, renderTable, type Column, type Style, type Tone } from "../render.ts";

const COLUMNS: readonly Column<ServiceLine>[] = [
  { title: "NETWORK", cell: ({ network }) => network, shrinks: true },
  { title: "NAME", cell: ({ name }) => name, shrinks: true },
  { title: "VIP", cell: ({ vip }) => vip ?? "" },
  { title: "PORTS", cell: ({ ports }) => ports.map(portText).join(","), shrinks: true },
  { title: "READY", cell: (line) => ({ text: `${line.ready}/${line.replicas}`, tone: readyTone(line) }) },
  { title: "STACK", cell: ({ stack }) => stack ?? "", wideOnly: true, shrinks: true },
  { title: "MODE", cell: ({ endpointMode }) => endpointMode, wideOnly: true },
  {
    title: "PUBLISHED",
    cell: ({ publish }) => publish.map(publishText).join(","),
    wideOnly: true,
    shrinks: true,
  },
  { title: "HTTP", cell: ({ http }) => http.map(routeText).join(","), wideOnly: true, shrinks: true },
];

/** Adds the command and its subcommands. */
export function addService(program: Command, act: Act): void {
  const service = program.command("service").description("services of the cluster");
  service
    .command("ls")
    .description("list services: VIP, ports, replicas that are ready")
    .option("--network <network>", "only the services of this network")
    .addHelpText("after", "\nExamples:\n  skein service ls\n  skein service ls --network front --quiet")
    .action(act((session, command) => list(session, networkOf(command))));
  service
    .command("inspect <service>")
    .description("all that is known of a service")
    .option("--network <network>", "network of the service, where several have the name")
    .addHelpText(
      "after",
      "\nExamples:\n  skein service inspect web\n  skein service inspect front/web -o json",
    )
    .action(act((session, command) => inspect(session, command.args[0] ?? "", networkOf(command))));
}

/** The `--network` that was given; null for none. */
export function networkOf(command: Command): string | null {
  return command.opts<{ readonly network?: string }>().network ?? null;
}

async function list(session: Session, network: string | null): Promise<number> {
  const query = network === null ? "" : `?${new URLSearchParams({ network }).toString()}`;
  const services = await session.client.get<readonly ServiceLine[]>(`/api/v1/services${query}`);
  // An empty list would look like a network on which nothing runs.
  if (services.length === 0 && network !== null)
    await session.client.get<NetworkDetail>(pathTo("networks", network));
  await show(session, {
    value: services,
    table: (style) => renderTable(COLUMNS, services, style),
    names: services.map((service) => `${service.network}/${service.name}`),
  });
  // The other formats have the problems in them.
  if (session.format !== "table" && session.format !== "wide") return 0;
  for (const service of services.filter(({ problems }) => problems.length > 0)) {
    const key = `${service.network}/${service.name}`;
    tell(session, `service ${key} has problems; see: skein explain ${key}`);
  }
  return 0;
}

async function inspect(session: Session, name: string, network: string | null): Promise<number> {
  const service = await session.client.get<ServiceDetail>(servicePath("services", name, network));
  await show(session, {
    value: service,
    table: (style) => `${detailText(service, style)}\n${replicaTable(service.replicas, style)}`,
    names: [`${service.network}/${service.name}`],
  });
  return 0;
}

function detailText(service: ServiceDetail, style: Style): string {
  return renderPairs(
    [
      ["service", [`${service.network}/${service.name}`]],
      ["vip", vipTexts(service, `none (${service.endpointMode})`)],
      ["stack", service.stack === null ? [] : [service.stack]],
      ["aliases", service.aliases],
      ["ports", service.ports.map((port) => `${port.name}: ${portText(port)}`)],
      ["published", service.publish.map(publishText)],
      ["http", service.http.map(routeText)],
      ["tls", service.passthrough.map((host) => `${host}, passed on unopened`)],
      ["traffic", trafficTexts(service.traffic)],
      ["problems", service.problems],
    ],
    style,
  );
}

function readyTone({ ready, replicas }: ServiceLine): Tone {
  if (ready === 0) return "bad";
  return ready === replicas ? "good" : "warn";
}
