/**
 * Hosts: every member of the cluster, and how they reach each other.
 *
 * Touches: the document, through preact.
 */

import type { MemberLine } from "../../admin/contract.ts";
import { linksNow, memberVerdict, nameOf } from "../judge.ts";
import { hostAddress } from "../route.ts";
import { servedByHost } from "../rows.ts";
import { count, millis, short } from "../words.ts";

import { LinkTable } from "./links.tsx";
import { Badge, Card, Since, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";

const COLUMNS: readonly Column<HostRow>[] = [
  {
    name: "Host",
    isName: true,
    cell: ({ line, name }) => (
      <>
        <a href={hostAddress(name)}>{name}</a>
        {line.self && <span class="quiet"> here</span>}
      </>
    ),
  },
  {
    name: "State",
    cell: ({ line }) => (
      <>
        <Badge verdict={memberVerdict(line)} />
        {line.via !== null && <span class="quiet"> via {line.via}</span>}
      </>
    ),
  },
  { name: "Since", cell: ({ line }) => <Since ms={line.sinceMs} />, class: "num" },
  { name: "Address", cell: ({ line }) => line.address || "–", class: "mono" },
  { name: "Zone", cell: ({ line }) => line.zone || "–" },
  { name: "Role", cell: ({ line }) => line.role },
  { name: "Version", cell: ({ line }) => line.version, class: "num" },
  { name: "Round trip", cell: ({ line }) => (line.self ? "–" : millis(line.rttMs)), class: "right num" },
  { name: "Replicas", cell: ({ line }) => line.replicas, class: "right num" },
  {
    name: "Per second",
    cell: ({ served }) => short(served),
    class: "right num",
    title: () => "requests and connections to its replicas",
  },
];

interface HostRow {
  readonly line: MemberLine;
  readonly name: string;
  readonly served: number;
}

/** The page. */
export function Hosts() {
  const board = useBoard();
  const { traffic } = useStore();
  const present = board.members.filter((line) => line.state !== "left");
  const served = servedByHost(traffic.value);
  const rows = board.members.map((line) => {
    return { line, name: nameOf(board, line.id), served: served.get(line.name) ?? 0 };
  });
  const versions = new Set(present.map((line) => line.version)).size;
  return (
    <>
      <Title title="Hosts">
        <span class="quiet">
          {count(present.length, "host")}
          {versions > 1 && `, ${versions} versions of Skein`}
        </span>
      </Title>
      <Card title="Members">
        <Table
          label="Hosts"
          class="wide"
          testId="hosts"
          columns={COLUMNS}
          rows={rows}
          keyOf={({ line }) => line.id}
        />
      </Card>
      <Card title="Links" aside={<span class="quiet">round trips, as each host sees them</span>}>
        <LinkTable board={board} links={linksNow(board, traffic.value)} />
      </Card>
    </>
  );
}
