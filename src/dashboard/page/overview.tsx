/**
 * Overview: the first page: what is there, what passes, what somebody should look at, what happened lately.
 *
 * From top to bottom in the order of the questions of somebody who was just paged: is it well, since when not, where.
 *
 * Touches: the document, through preact.
 */

import type { ServiceTraffic, TrafficReport } from "../../admin/contract-live.ts";
import type { MemberLine } from "../../admin/contract.ts";
import type { Board } from "../board.ts";
import { linksNow, memberVerdict, nameOf, serviceState, type Tone } from "../judge.ts";
import { hostAddress, pageAddress, serviceAddress } from "../route.ts";
import { servedByHost } from "../rows.ts";
import { short, millis } from "../words.ts";

import { ConcernList } from "./problems.tsx";
import { EventList } from "./events.tsx";
import { LinkRing } from "./links.tsx";
import { Badge, Card, Empty, Mark, Since, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";
import { TotalCharts } from "./charts.tsx";

const CONCERNS_SHOWN = 6;
const BUSIEST_SHOWN = 8;
const HOSTS_SHOWN = 12;
const EVENTS_SHOWN = 10;

/** The page. */
export function Overview() {
  const board = useBoard();
  const store = useStore();
  const traffic = store.traffic.value;
  const concerns = store.concerns.value;
  return (
    <>
      <Title title="Overview" />
      <Tiles board={board} concerns={concerns.length} worst={concerns[0]?.tone ?? "good"} />
      {concerns.length > 0 && (
        <Card
          title="Needs a look"
          aside={
            concerns.length > CONCERNS_SHOWN && <a href={pageAddress("problems")}>All {concerns.length}</a>
          }
        >
          <ConcernList concerns={concerns.slice(0, CONCERNS_SHOWN)} />
        </Card>
      )}
      <TotalCharts />
      <div class="split">
        <HostCard board={board} traffic={traffic} />
        <Card title="Links" aside={<a href={pageAddress("hosts")}>Each with its time</a>}>
          <LinkRing board={board} links={linksNow(board, traffic)} />
        </Card>
      </div>
      <div class="split">
        <Busiest traffic={traffic} />
        <Card title="Latest events" aside={<a href={pageAddress("events")}>All</a>}>
          <EventList events={board.events.slice(-EVENTS_SHOWN).toReversed()} />
        </Card>
      </div>
    </>
  );
}

interface TileProps {
  readonly name: string;
  readonly tone: Tone;
  readonly value: number | string;
  readonly of?: number;
  readonly note: string;
  readonly address: string;
}

function Tile({ name, tone, value, of, note, address }: TileProps) {
  return (
    <a class={`tile ${tone}`} href={address}>
      <span class="tile-name">
        <Mark tone={tone} />
        {name}
      </span>
      <span class="tile-value num">
        {value}
        {of !== undefined && <span class="of"> / {of}</span>}
      </span>
      <span class="tile-note">{note}</span>
    </a>
  );
}

function Tiles({
  board,
  concerns,
  worst,
}: {
  readonly board: Board;
  readonly concerns: number;
  readonly worst: Tone;
}) {
  const members = board.members.filter((line) => line.state !== "left");
  const alive = members.filter((line) => line.state === "alive").length;
  const serving = board.services.filter((line) => line.replicas > 0);
  const down = serving.filter((line) => serviceState(line) === "down").length;
  const partly = serving.filter((line) => serviceState(line) === "partly").length;
  const replicas = serving.reduce((sum, line) => sum + line.replicas, 0);
  const ready = serving.reduce((sum, line) => sum + line.ready, 0);
  const missing = board.drains.filter((line) => !line.applied).length;
  const silent = members.length - alive;
  return (
    <div class="tiles">
      <Tile
        name="Hosts"
        tone={silent === 0 ? "good" : "poor"}
        value={alive}
        of={members.length}
        note={silent === 0 ? "all alive" : `${silent} not alive`}
        address={pageAddress("hosts")}
      />
      <Tile
        name="Services"
        tone={down > 0 ? "poor" : partly > 0 ? "fair" : "good"}
        value={serving.length - down}
        of={serving.length}
        note={down > 0 ? `${down} down` : partly > 0 ? `${partly} with replicas out` : "all served"}
        address={pageAddress("services", { state: down > 0 ? "down" : partly > 0 ? "partly" : "" })}
      />
      <Tile
        name="Replicas"
        tone={ready === replicas ? "good" : ready === 0 ? "poor" : "fair"}
        value={ready}
        of={replicas}
        note={ready === replicas ? "all in" : `${replicas - ready} out`}
        address={pageAddress("services", { sort: "state" })}
      />
      <Tile
        name="Drains"
        tone={missing > 0 ? "fair" : "idle"}
        value={board.drains.length}
        note={
          board.drains.length === 0
            ? "none in progress"
            : missing > 0
              ? `${missing} not yet everywhere`
              : "all applied"
        }
        address={pageAddress("drains")}
      />
      <Tile
        name="Needs a look"
        tone={concerns === 0 ? "good" : worst}
        value={concerns}
        note={concerns === 0 ? "nothing" : "see below"}
        address={pageAddress("problems")}
      />
    </div>
  );
}

function HostCard({ board, traffic }: { readonly board: Board; readonly traffic: TrafficReport | null }) {
  const members = board.members.filter((line) => line.state !== "left");
  const ill = members.filter((line) => memberVerdict(line).tone !== "good");
  const well = members.filter((line) => memberVerdict(line).tone === "good");
  const shown = [...ill, ...well].slice(0, HOSTS_SHOWN);
  const silent = new Set(traffic?.silent);
  const served = servedByHost(traffic);
  return (
    <Card
      title="Hosts"
      aside={members.length > shown.length && <a href={pageAddress("hosts")}>All {members.length}</a>}
    >
      <ul class="host-list">
        {shown.map((line) => (
          <li key={line.id}>
            <a class="host" href={hostAddress(nameOf(board, line.id))}>
              <span class="host-name">{nameOf(board, line.id)}</span>
              <Badge verdict={memberVerdict(line)} />
              <span class="host-note">
                <HostNote line={line} isSilent={silent.has(nameOf(board, line.id))} />
              </span>
              <span class="host-replicas num">{line.replicas}</span>
              <span class="host-unit">replicas</span>
              <span class="host-rate num" title="requests and connections to its replicas">
                {short(served.get(line.name) ?? 0)}/s
              </span>
            </a>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function HostNote({ line, isSilent }: { readonly line: MemberLine; readonly isSilent: boolean }) {
  if (line.state !== "alive")
    return (
      <>
        for <Since ms={line.sinceMs} />
      </>
    );
  const distance = line.via === null ? millis(line.rttMs) : `via ${line.via}`;
  return (
    <>
      {line.self ? "this host" : distance}
      {isSilent && ", tells no numbers"}
    </>
  );
}

function busyOf({ rates }: ServiceTraffic): number {
  return rates.requests + rates.connections;
}

/** @param most  what the busiest one has: its meter is full */
function busyColumns(most: number): readonly Column<ServiceTraffic>[] {
  return [
    {
      name: "Service",
      cell: (one) => (
        <>
          <svg class="meter" viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true">
            <rect width={(busyOf(one) / most) * 100} height="2" fill="currentColor" />
          </svg>
          <a href={serviceAddress(one.key)}>{one.key}</a>
        </>
      ),
      class: "with-meter",
    },
    { name: "Per second", cell: (one) => short(busyOf(one)), class: "right num" },
    { name: "p95", cell: ({ latencyMs }) => millis(latencyMs?.p95 ?? null), class: "right num" },
    { name: "Errors", cell: ({ rates: { errors } }) => <Errors rate={errors} />, class: "right num" },
  ];
}

function Errors({ rate }: { readonly rate: number }) {
  return <span class={rate > 0 ? "bad-text" : "quiet"}>{short(rate)}</span>;
}

function Busiest({ traffic }: { readonly traffic: TrafficReport | null }) {
  const busy = (traffic?.services ?? []).filter((one) => busyOf(one) > 0).slice(0, BUSIEST_SHOWN);
  const most = Math.max(1, ...busy.map(busyOf));
  return (
    <Card title="Busiest services" aside={<a href={pageAddress("services", { sort: "requests" })}>All</a>}>
      {busy.length === 0 ? (
        <Empty title="No traffic now">Requests and connections of the last second show here.</Empty>
      ) : (
        <Table class="plain" columns={busyColumns(most)} rows={busy} keyOf={({ key }) => key} />
      )}
    </Card>
  );
}
