/**
 * Host: one member: what runs there, how others reach it, until when its certificate holds.
 *
 * Touches: the document, through preact.
 */

import type { Rates } from "../../admin/contract-live.ts";
import type { MemberDetail, MemberLine } from "../../admin/contract.ts";
import type { Board } from "../board.ts";
import { linksNow, memberVerdict, nameOf, type Verdict } from "../judge.ts";
import { pageAddress, serviceAddress } from "../route.ts";
import { count, millis, moment, short, until } from "../words.ts";

import { useAnswer } from "./ask.ts";
import { LinkList } from "./links.tsx";
import { Badge, Card, Empty, Facts, Loading, Since, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";

/** The page of a host. */
export function Host({ name }: { readonly name: string }) {
  const board = useBoard();
  const line = board.members.find((one) => nameOf(board, one.id) === name) ?? null;
  // What runs there changes with services, which come in any number: asked again at most as often as ask.ts allows.
  const answer = useAnswer<MemberDetail>(
    `/api/v1/members/${encodeURIComponent(line?.id ?? name)}`,
    board.version,
  );
  const above = { text: "Hosts", address: pageAddress("hosts") };
  if (line === null) {
    return (
      <>
        <Title title={name} above={above} />
        <Empty title={`There is no host ${name}`}>It was removed, or it never was.</Empty>
      </>
    );
  }
  return (
    <>
      <Title title={name} above={above}>
        <Badge verdict={memberVerdict(line)} />
        {line.via !== null && <span class="quiet">reached through {line.via}</span>}
      </Title>
      <Card title="Facts">
        <Facts facts={factsOf(line, answer.kind === "told" ? answer.value : null)} />
      </Card>
      <div class="split">
        <Card title="Runs" aside={<span class="quiet">{count(line.replicas, "replica")}</span>}>
          {answer.kind === "told" && <Runs detail={answer.value} />}
          {answer.kind === "failed" && <p class="note poor">{answer.text}</p>}
          {answer.kind === "asking" && <Loading />}
        </Card>
        <Card title="Links">
          <LinksOf board={board} id={line.id} />
        </Card>
      </div>
    </>
  );
}

function factsOf(line: MemberLine, detail: MemberDetail | null) {
  const ends = detail?.certificate?.endsAtMs ?? null;
  const labels = Object.entries(detail?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [
    ["Address", <span class="mono strong">{line.address === "" ? "–" : line.address}</span>],
    ["State since", <Since ms={line.sinceMs} />],
    ["Role", line.role],
    ["Zone", line.zone],
    ["Version", line.version],
    ["Round trip", line.self ? "this host" : millis(line.rttMs)],
    ["Certificate ends", ends === null ? null : <Ends ms={ends} />],
    ["Labels", labels.join(", ")],
    ["Leads to", detail === null ? null : <span class="mono">{detail.prefixes.join(", ")}</span>],
    ["Id", <span class="mono small">{line.id}</span>],
  ] as const;
}

function Ends({ ms }: { readonly ms: number }) {
  const { nowMs } = useStore();
  return <span title={moment(ms)}>{ms < nowMs.value ? "it has ended" : `in ${until(ms, nowMs.value)}`}</span>;
}

function Runs({ detail }: { readonly detail: MemberDetail }) {
  const { traffic } = useStore();
  if (detail.runs.length === 0) return <Empty title="No replica runs here" />;
  const byId = new Map((traffic.value?.replicas ?? []).map((one) => [one.id, one.rates]));
  const columns: readonly Column<Run>[] = [
    { name: "State", cell: ({ eligible }) => <Badge verdict={eligible ? IN : OUT} /> },
    { name: "Replica", cell: ({ name }) => name, isName: true, class: "mono", title: ({ id }) => id },
    { name: "Service", cell: ({ service }) => <a href={serviceAddress(service)}>{service}</a> },
    { name: "Address", cell: ({ address }) => address, class: "mono" },
    { name: "Why", cell: ({ reason }) => reason, class: "why" },
    { name: "Per second", cell: ({ id }) => short(busyOf(byId.get(id))), class: "right num" },
  ];
  return (
    <Table
      label="Replicas of this host"
      class="plain"
      testId="runs"
      columns={columns}
      rows={detail.runs}
      keyOf={({ id }) => id}
    />
  );
}

type Run = MemberDetail["runs"][number];
const IN: Verdict = { tone: "good", word: "in" };
const OUT: Verdict = { tone: "poor", word: "out" };

function busyOf(rates: Rates | undefined): number {
  return rates === undefined ? 0 : rates.requests + rates.connections;
}

function LinksOf({ board, id }: { readonly board: Board; readonly id: string }) {
  const { traffic } = useStore();
  const links = linksNow(board, traffic.value).filter((one) => one.fromId === id && one.state !== "none");
  if (links.length === 0)
    return <Empty title="No link is known">It tells of its links while it answers.</Empty>;
  return <LinkList board={board} links={links} isOfOne />;
}
