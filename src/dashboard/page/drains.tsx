/**
 * Drains: replicas that are being taken out of traffic: who has applied it, and who is missing.
 *
 * Touches: the document, through preact.
 */

import type { DrainLine } from "../../admin/contract-live.ts";
import { hostAddress, serviceAddress } from "../route.ts";
import { count } from "../words.ts";

import { Badge, Card, Empty, Since, Title } from "./parts.tsx";
import { useBoard } from "./store.ts";
import { Table, type Column } from "./table.tsx";

interface Row {
  readonly line: DrainLine;
  /** How many hosts live. */
  readonly alive: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { name: "Progress", cell: (row) => <Progress {...row} /> },
  {
    name: "Replica",
    cell: ({ line }) => line.name,
    isName: true,
    class: "mono",
    title: ({ line }) => line.replica,
  },
  { name: "Service", cell: ({ line }) => <a href={serviceAddress(line.service)}>{line.service}</a> },
  { name: "Host", cell: ({ line }) => <a href={hostAddress(line.node)}>{line.node}</a> },
  { name: "Why", cell: ({ line }) => line.reason, class: "why" },
  { name: "Since", cell: ({ line }) => <Since ms={line.sinceMs} />, class: "num" },
  { name: "Missing", cell: ({ line }) => line.pending.join(", ") || "–" },
];

/** The page. */
export function Drains() {
  const { drains, members } = useBoard();
  const alive = members.filter((line) => line.state === "alive").length;
  const missing = drains.filter((line) => !line.applied).length;
  return (
    <>
      <Title title="Drains">
        <span class="quiet" role="status">
          {drains.length === 0
            ? "none"
            : missing === 0
              ? "all applied"
              : `${missing} not yet applied everywhere`}
        </span>
      </Title>
      {drains.length === 0 ? (
        <Empty title="No replica is being drained">
          <code>skein drain REPLICA --wait</code> takes one out without a failed request.
        </Empty>
      ) : (
        <Card title="In progress and applied">
          <Table
            label="Drains"
            class="wide"
            testId="drains"
            columns={COLUMNS}
            rows={drains.map((line) => ({ line, alive }))}
            keyOf={({ line }) => line.replica}
          />
        </Card>
      )}
    </>
  );
}

function Progress({ line, alive }: Row) {
  const verdict = line.applied
    ? ({ tone: "good", word: "applied" } as const)
    : ({ tone: "fair", word: "in progress" } as const);
  const done = line.applied ? alive : Math.max(0, alive - line.pending.length);
  // Nobody is named in its first second: then it is not known how many have applied it.
  const isKnown = line.applied || line.pending.length > 0;
  const told = isKnown ? `${done} of ${count(alive, "host")}` : `asking ${count(alive, "host")}`;
  return (
    <>
      <Badge verdict={verdict} />
      <progress max={Math.max(1, alive)} value={isKnown ? done : undefined} aria-label={told} />
      <span class="quiet num">{told}</span>
    </>
  );
}
