/**
 * Networks: overlay networks with the use of their ranges, and those that are names only; and one of them.
 *
 * Touches: the document, through preact.
 */

import type { NetworkDetail, NetworkLine } from "../../admin/contract-network.ts";
import { memberVerdict } from "../judge.ts";
import { hostAddress, networkAddress, pageAddress, serviceAddress } from "../route.ts";
import { count } from "../words.ts";

import { useAnswer } from "./ask.ts";
import { Badge, Card, Empty, Facts, Share, Title } from "./parts.tsx";
import { useBoard } from "./store.ts";
import { Table, type Column } from "./table.tsx";

const COLUMNS: readonly Column<NetworkLine>[] = [
  { name: "Network", cell: ({ name }) => <a href={networkAddress(name)}>{name}</a>, isName: true },
  { name: "State", cell: (line) => <Sound line={line} /> },
  { name: "Kind", cell: ({ kind, encrypted }) => `${kind}${encrypted ? ", encrypted" : ""}` },
  { name: "Range", cell: ({ range }) => range ?? "–", class: "mono" },
  {
    name: "Slices in use",
    cell: ({ slices }) => (slices === null ? "–" : `${slices.used} of ${slices.total}`),
    class: "num",
  },
  { name: "Services", cell: ({ services }) => services, class: "num" },
  { name: "Ready", cell: ({ ready, replicas }) => <Share part={ready} of={replicas} /> },
];

const HOST_COLUMNS: readonly Column<NetworkDetail["hosts"][number]>[] = [
  { name: "Host", cell: ({ node }) => <a href={hostAddress(node)}>{node}</a>, isName: true },
  {
    name: "State",
    cell: ({ state }) => (
      <Badge verdict={memberVerdict({ state, via: null, settlesAtMs: null, draining: false })} />
    ),
  },
  {
    name: "Slice",
    cell: ({ prefix, tentative }) => (
      <>
        {prefix}
        {tentative && <span class="quiet"> new</span>}
      </>
    ),
    class: "mono",
  },
  { name: "Addresses", cell: ({ addresses }) => `${addresses.used} of ${addresses.total}`, class: "num" },
  { name: "Carried", cell: ({ carries, reason }) => (carries ? "yes" : (reason ?? "no")), class: "why" },
];

/** The list. */
export function Networks() {
  const board = useBoard();
  return (
    <>
      <Title title="Networks">
        <span class="quiet">{count(board.networks.length, "network")}</span>
      </Title>
      {board.networks.length === 0 ? (
        <Empty title="No networks yet">
          <code>skein network create app</code> makes one that spans all hosts.
        </Empty>
      ) : (
        <Card title="Ranges and use">
          <Table
            label="Networks"
            class="wide"
            columns={COLUMNS}
            rows={board.networks}
            keyOf={({ name }) => name}
          />
        </Card>
      )}
    </>
  );
}

function Sound({ line }: { readonly line: NetworkLine }) {
  const verdict = line.sound
    ? ({ tone: line.problems.length > 0 ? "fair" : "good", word: "made" } as const)
    : ({ tone: "poor", word: "not made" } as const);
  return <Badge verdict={verdict} title={line.problems.join("\n")} />;
}

/** The page of a network. */
export function Network({ name }: { readonly name: string }) {
  const board = useBoard();
  const answer = useAnswer<NetworkDetail>(`/api/v1/networks/${encodeURIComponent(name)}`, board.version);
  const line = board.networks.find((one) => one.name === name) ?? null;
  const above = { text: "Networks", address: pageAddress("networks") };
  if (line === null) {
    return (
      <>
        <Title title={name} above={above} />
        <Empty title={`There is no network ${name}`} />
      </>
    );
  }
  return (
    <>
      <Title title={name} above={above}>
        <Sound line={line} />
      </Title>
      {line.problems.map((text) => (
        <p class="note fair" key={text}>
          {text}
        </p>
      ))}
      <Card title="Range">
        <Facts
          facts={[
            ["Kind", line.kind === "overlay" ? "overlay, spans all hosts" : "a name that services share"],
            ["IPv4", <span class="mono">{line.range ?? "–"}</span>],
            ["IPv6", <span class="mono">{line.range6 ?? "–"}</span>],
            ["Encrypted", line.encrypted ? "yes" : "no"],
            ["Number on the wire", line.vni ?? "–"],
          ]}
        />
      </Card>
      {answer.kind === "told" && <NetworkParts detail={answer.value} />}
      {answer.kind === "failed" && <p class="note poor">{answer.text}</p>}
    </>
  );
}

function NetworkParts({ detail }: { readonly detail: NetworkDetail }) {
  return (
    <div class="split">
      <Card title="Hosts">
        {detail.hosts.length === 0 ? (
          <Empty title="No host holds a slice of it" />
        ) : (
          <Table
            label="Hosts of this network"
            class="plain"
            columns={HOST_COLUMNS}
            rows={detail.hosts}
            keyOf={({ node, prefix }) => `${prefix} ${node}`}
          />
        )}
      </Card>
      <Card title="Services">
        {detail.serviceKeys.length === 0 ? (
          <Empty title="No service is on it" />
        ) : (
          <ul class="links">
            {detail.serviceKeys.map((key) => (
              <li key={key}>
                <a href={serviceAddress(key)}>{key}</a>
              </li>
            ))}
          </ul>
        )}
      </Card>
    </div>
  );
}
