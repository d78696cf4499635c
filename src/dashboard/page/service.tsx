/**
 * Service: one of them: each replica in or out and why, what DNS answers and to whom, what passes.
 *
 * The line of the list says that something is out; this page asks the daemon who says so and since when, and asks again
 * whenever the stream says that something of the service changed.
 *
 * Touches: the document, through preact.
 */

import type { Rates, ReplicaTraffic } from "../../admin/contract-live.ts";
import type { ReplicaReport, ServiceDetail } from "../../admin/contract.ts";
import { serviceKey } from "../../model/ids.ts";
import { replicaVerdict, serviceVerdict } from "../judge.ts";
import { hostAddress, networkAddress, pageAddress } from "../route.ts";
import { short, until } from "../words.ts";

import { useAnswer } from "./ask.ts";
import { ServiceCharts } from "./charts.tsx";
import { AskDns } from "./dns.tsx";
import { EventList } from "./events.tsx";
import { Badge, Card, Empty, Facts, Loading, Since, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";

const EVENTS_SHOWN = 8;

/** The page of a service. */
export function Service({ network, name }: { readonly network: string; readonly name: string }) {
  const board = useBoard();
  const key = serviceKey(network, name);
  const line = board.services.find((one) => one.network === network && one.name === name) ?? null;
  const path = `/api/v1/services/${encodeURIComponent(network)}/${encodeURIComponent(name)}`;
  const answer = useAnswer<ServiceDetail>(path, board.revisions.get(key) ?? 0);
  const above = { text: "Services", address: pageAddress("services") };
  if (line === null) {
    return (
      <>
        <Title title={name} above={above} />
        <Empty title={`There is no service ${key}`}>Its last replica is gone, or it never was.</Empty>
      </>
    );
  }
  return (
    <>
      <Title title={name} above={above}>
        <Badge verdict={serviceVerdict(line)} />
      </Title>
      {line.problems.map((text) => (
        <p class="note fair" key={text}>
          {text}
        </p>
      ))}
      {answer.kind === "failed" && (
        <p class="note poor" role="alert">
          {answer.text}
        </p>
      )}
      {answer.kind === "told" && <Detail detail={answer.value} serviceOf={key} />}
      {answer.kind === "asking" && <Loading />}
      <ServiceCharts service={key} />
      <div class="split">
        <AskDns names={namesOf(network, name)} askers={askersOf(answer)} />
        <Card title="Events">
          <EventList
            events={board.events
              .filter((event) => isAbout(event.subject, key))
              .slice(-EVENTS_SHOWN)
              .toReversed()}
          />
        </Card>
      </div>
    </>
  );
}

function isAbout(subject: string, key: string): boolean {
  return subject === key || subject.startsWith(`${key} `);
}

function namesOf(network: string, name: string): readonly string[] {
  // Without the domain, which is the cluster's own choice.
  const full = `${name}.${network}`;
  return [full, `tasks.${full}`, name];
}

function askersOf(answer: { readonly kind: string; readonly value?: ServiceDetail }): readonly string[] {
  return (answer.value?.replicas ?? []).filter((one) => one.local).map((one) => one.name);
}

function Detail({ detail, serviceOf }: { readonly detail: ServiceDetail; readonly serviceOf: string }) {
  const { traffic } = useStore();
  const rows = (traffic.value?.replicas ?? []).filter((one) => one.service === serviceOf);
  const byId = new Map(rows.map((one) => [one.id, one]));
  const out = detail.replicas.filter((one) => replicaVerdict(one).tone !== "good").length;
  return (
    <>
      <Card title="Address">
        <Facts facts={factsOf(detail)} />
      </Card>
      <Card
        title="Replicas"
        aside={<span class="quiet">{out === 0 ? "all in" : `${out} not in, and why`}</span>}
      >
        {detail.replicas.length === 0 ? (
          <Empty title="No replica is known">DNS still tells its address; connections are refused.</Empty>
        ) : (
          <Replicas replicas={detail.replicas} trafficById={byId} />
        )}
      </Card>
    </>
  );
}

function factsOf(detail: ServiceDetail) {
  const { ports, publish, http, traffic, aliases, aliasVips, passthrough } = detail;
  const chips = (texts: readonly string[]) => texts.length > 0 && <Chips texts={texts} />;
  return (
    [
      ["Virtual address", detail.vip === null ? `none (${detail.endpointMode})` : <Vip detail={detail} />],
      ["Network", <a href={networkAddress(detail.network)}>{detail.network}</a>],
      ["Ports", chips(ports.map((port) => `${port.name} ${port.port} → ${port.target}/${port.protocol}`))],
      [
        "Published",
        chips(publish.map((one) => `${one.published} → ${one.port}/${one.protocol}${modeOf(one)}`)),
      ],
      ["HTTP rules", chips(http.map((route) => `${route.host}${route.path}`))],
      ["TLS passed on", chips(passthrough)],
      ["Also called", chips(aliases)],
      ["Earlier addresses", chips(aliasVips)],
      ["Stack", detail.stack],
      ["Balance", `${traffic.balance}${traffic.prefer === "local" ? ", local first" : ""}`],
    ] as const
  ).filter(([, value]) => value !== false && value !== null);
}

function modeOf({ mode }: { readonly mode: string }): string {
  return mode === "host" ? " on its hosts" : "";
}

function Vip({ detail }: { readonly detail: ServiceDetail }) {
  return (
    <span class="mono strong">
      {detail.vip}
      {detail.vip6 !== undefined && ` · ${detail.vip6}`}
      {detail.vipTentative && <span class="quiet"> (new, may still change)</span>}
    </span>
  );
}

function Chips({ texts }: { readonly texts: readonly string[] }) {
  return (
    <span class="tags">
      {texts.map((text) => (
        <code key={text}>{text}</code>
      ))}
    </span>
  );
}

interface ReplicasProps {
  readonly replicas: readonly ReplicaReport[];
  readonly trafficById: ReadonlyMap<string, ReplicaTraffic>;
}

interface Row {
  readonly one: ReplicaReport;
  readonly rates: Rates | null;
}

const COLUMNS: readonly Column<Row>[] = [
  { name: "State", cell: ({ one }) => <Badge verdict={replicaVerdict(one)} /> },
  { name: "Replica", cell: ({ one }) => one.name, isName: true, class: "mono", title: ({ one }) => one.id },
  { name: "Host", cell: ({ one }) => <a href={hostAddress(one.node)}>{one.node}</a> },
  { name: "Address", cell: ({ one }) => one.address, class: "mono" },
  { name: "Why", cell: ({ one }) => <Why one={one} />, class: "why" },
  { name: "Since", cell: ({ one }) => <Since ms={one.sinceMs} />, class: "num" },
  { name: "Said by", cell: ({ one }) => one.saidBy },
  {
    name: "Per second",
    cell: ({ rates }) => short(rates === null ? null : rates.requests + rates.connections),
    class: "right num",
  },
  { name: "Open", cell: ({ rates }) => short(rates?.open ?? null), class: "right num" },
];

function Replicas({ replicas, trafficById }: ReplicasProps) {
  const order = replicas.toSorted((a, b) => Number(isWell(a)) - Number(isWell(b)));
  return (
    <Table
      label="Replicas"
      class="wide replicas"
      testId="replicas"
      columns={COLUMNS}
      rows={order.map((one) => ({ one, rates: trafficById.get(one.id)?.rates ?? null }))}
      keyOf={({ one }) => one.id}
      rowClass={({ one }) => (isWell(one) ? "" : "not-in")}
    />
  );
}

function Why({ one }: { readonly one: ReplicaReport }) {
  const { nowMs } = useStore();
  const { ejected, drainPending, drainApplied, state } = one;
  const notes = [
    one.reason,
    ejected === null
      ? ""
      : `ejected here: ${ejected.reason}; tried again: ${until(ejected.untilMs, nowMs.value)}`,
    state === "draining" && drainApplied ? "every host has applied it" : "",
    drainPending.length > 0 ? `not yet applied by ${drainPending.join(", ")}` : "",
    one.weight === 1 ? "" : `weight ${one.weight}`,
  ].filter((text) => text !== "");
  return <>{notes.join(" · ")}</>;
}

function isWell(one: ReplicaReport): boolean {
  return replicaVerdict(one).tone === "good";
}
