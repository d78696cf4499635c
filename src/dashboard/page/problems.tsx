/**
 * Problems: everything that somebody should look at, the worst first, and what this daemon lives with.
 *
 * Touches: the document, through preact.
 */

import type { StatusReport } from "../../admin/contract.ts";
import type { Concern } from "../judge.ts";

import { Card, Empty, Facts, Mark, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";

const SHOWN_MAX = 200;

const CHOICES: readonly Column<StatusReport["choices"][number]>[] = [
  { name: "Setting", cell: ({ key }) => key, isName: true, class: "mono" },
  { name: "Became", cell: ({ value }) => value, class: "mono" },
  { name: "Why", cell: ({ reason }) => reason, class: "why" },
];

/** The page. */
export function Problems() {
  const concerns = useStore().concerns.value;
  const { status } = useBoard();
  return (
    <>
      <Title title="Problems">
        <span class="quiet" role="status">
          {concerns.length === 0 ? "none" : `${concerns.length} in all`}
        </span>
      </Title>
      {concerns.length === 0 ? (
        <Empty title="All is well">
          Nothing needs a look. <code>skein doctor</code> tells what this host could do better.
        </Empty>
      ) : (
        <Card title="Needs a look">
          <ConcernList concerns={concerns.slice(0, SHOWN_MAX)} />
          {concerns.length > SHOWN_MAX && <p class="quiet pad">and {concerns.length - SHOWN_MAX} more</p>}
        </Card>
      )}
      <Card title="What this daemon chose by itself">
        <Table
          label="Choices"
          class="wide"
          columns={CHOICES}
          rows={status.choices}
          keyOf={({ key }) => key}
        />
      </Card>
      <Card title="Sources and listeners">
        <Facts
          facts={[
            ...status.sources.map(
              (source) => [source.name, source.stale ?? `${source.endpoints} endpoints`] as const,
            ),
            ["Mesh", status.listen.mesh.join(", ")],
            ["DNS", status.listen.dns.join(", ")],
            ["Admin", status.listen.admin.join(", ")],
            ["Ingress", status.listen.ingress.join(", ")],
          ]}
        />
      </Card>
    </>
  );
}

/** Concerns, each leading to what it is about. */
export function ConcernList({ concerns }: { readonly concerns: readonly Concern[] }) {
  return (
    <ul class="concerns" data-testid="concerns">
      {concerns.map((one, at) => (
        <li key={at}>
          <a href={one.address}>
            <Mark tone={one.tone} />
            <b>{one.subject}</b>
            <span>{one.text}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}
