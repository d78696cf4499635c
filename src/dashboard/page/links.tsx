/**
 * Links: how the hosts reach each other: a ring for few, a table of all pairs for some, the worst ones for many.
 *
 * A link has two ends, and each says how it sees it; the ring draws the worse of both, the table both.
 *
 * Touches: the document, through preact.
 */

import type { LinkLine } from "../../admin/contract-live.ts";
import type { MemberLine } from "../../admin/contract.ts";
import type { Board } from "../board.ts";
import { linkVerdict, memberVerdict, nameOf } from "../judge.ts";
import { frameOf, pairsOf, ringOf, type Pair, type Place } from "../ring.ts";
import { hostAddress } from "../route.ts";
import { millis } from "../words.ts";

import { Badge, Empty, TableBox } from "./parts.tsx";
import { Table, type Column } from "./table.tsx";

const RING_MAX = 16;
/** With more hosts the times would lie on top of each other; the table has them. */
const LABELLED_MAX = 4;
/** Where on its line a time stands: not in the middle, where lines cross. */
const LABEL_AT = 0.36;
const KEY = ["open", "via", "broken"] as const;
const MATRIX_MAX = 24;
const WORST_SHOWN = 12;

interface LinksProps {
  readonly board: Board;
  /** As `linksNow` gives them. */
  readonly links: readonly LinkLine[];
}

function presentOf(board: Board): readonly MemberLine[] {
  return board.members.filter((line) => line.state !== "left");
}

/** The ring; for more hosts than it can show, the worst links. */
export function LinkRing({ board, links }: LinksProps) {
  const members = presentOf(board);
  if (members.length < 2) {
    return (
      <Empty title="One host">
        <code>skein token worker</code> prints what another needs to join it.
      </Empty>
    );
  }
  if (members.length > RING_MAX) return <WorstLinks board={board} links={links} shown={WORST_SHOWN} />;
  return <Ring board={board} links={links} members={members} />;
}

function Ring({ board, links, members }: LinksProps & { readonly members: readonly MemberLine[] }) {
  const places = ringOf(members.map(({ id }) => id));
  const pairs = pairsOf(links);
  const broken = pairs.filter((pair) => pair.state === "broken").length;
  const told = broken === 0 ? "no link is broken" : `${broken} broken`;
  return (
    <>
      <svg
        class="ring"
        viewBox={frameOf(places)}
        role="group"
        aria-label={`${members.length} hosts, ${told}`}
      >
        {pairs.map((pair) => {
          const from = places.get(pair.a);
          const to = places.get(pair.b);
          if (from === undefined || to === undefined) return null;
          const { tone } = linkVerdict(pair.state);
          return (
            <g key={`${pair.a} ${pair.b}`} class={`edge ${tone}`} data-state={pair.state}>
              <line x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
            </g>
          );
        })}
        {members.length <= LABELLED_MAX && <RingTimes pairs={pairs} places={places} />}
        {members.map((line) => {
          const place = places.get(line.id);
          if (place === undefined) return null;
          const name = nameOf(board, line.id);
          const { tone } = memberVerdict(line);
          return (
            <a key={line.id} href={hostAddress(name)} aria-label={name} class={`node ${tone}`}>
              <circle cx={place.x} cy={place.y} r="9" />
              <text x={place.labelX} y={place.labelY} text-anchor={place.anchor}>
                {name.length > 18 ? `${name.slice(0, 17)}…` : name}
              </text>
            </a>
          );
        })}
      </svg>
      <ul class="key">
        {KEY.map((state) => (
          <li key={state}>
            <svg class={`edge ${linkVerdict(state).tone}`} viewBox="0 0 26 6" aria-hidden="true">
              <line x1="0" y1="3" x2="26" y2="3" />
            </svg>
            {linkVerdict(state).word}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Above all lines, so that none goes through a time. */
function RingTimes({
  pairs,
  places,
}: {
  readonly pairs: readonly Pair[];
  readonly places: ReadonlyMap<string, Place>;
}) {
  return (
    <g class="edge">
      {pairs.map(({ a, b, state, rttMs }) => {
        const from = places.get(a);
        const to = places.get(b);
        if (from === undefined || to === undefined || rttMs === null || state === "none") return null;
        const [x, y] = [from.x + (to.x - from.x) * LABEL_AT, from.y + (to.y - from.y) * LABEL_AT + 4];
        return (
          <text key={`${a} ${b}`} x={x} y={y}>
            {millis(rttMs)}
          </text>
        );
      })}
    </g>
  );
}

/** All pairs; for more hosts than fit a screen, the worst ones. */
export function LinkTable({ board, links }: LinksProps) {
  const ids = presentOf(board).map(({ id }) => id);
  if (ids.length < 2) return <Empty title="One host">There is nobody to be linked to.</Empty>;
  if (ids.length > MATRIX_MAX) return <WorstLinks board={board} links={links} shown={WORST_SHOWN * 4} />;
  const byPair = new Map(links.map((link) => [keyOf(link), link]));
  return (
    <TableBox label="Links between hosts">
      <table class="matrix" data-testid="links">
        <caption class="unseen">Round trip from the host of the row to the host of the column</caption>
        <thead>
          <tr>
            <th scope="col">from ↓ to →</th>
            {ids.map((id) => (
              <th scope="col" key={id}>
                {nameOf(board, id)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {ids.map((fromId) => (
            <tr key={fromId}>
              <th scope="row">{nameOf(board, fromId)}</th>
              {ids.map((toId) => (
                <Cell
                  key={toId}
                  link={fromId === toId ? "self" : (byPair.get(keyOf({ fromId, toId })) ?? null)}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}

function keyOf({ fromId, toId }: Pick<LinkLine, "fromId" | "toId">): string {
  return `${fromId} ${toId}`;
}

function Cell({ link }: { readonly link: LinkLine | "self" | null }) {
  if (link === "self") return <td class="self" />;
  if (link === null) return <td class="quiet">–</td>;
  const { tone, word } = linkVerdict(link.state);
  const text = link.state === "open" ? millis(link.rttMs) : link.state === "via" ? "via" : word;
  return (
    <td class={`cell ${tone}`} data-state={link.state} title={`${link.from} → ${link.to}: ${word}`}>
      {text}
    </td>
  );
}

const ORDER: Readonly<Record<LinkLine["state"], number>> = { broken: 0, via: 1, open: 2, none: 3 };

interface LinkListProps extends LinksProps {
  readonly isOfOne?: true;
}

/** A list of links; `isOfOne` where all are those of one host. */
export function LinkList({ board, links, isOfOne }: LinkListProps) {
  const host = (id: string) => <a href={hostAddress(nameOf(board, id))}>{nameOf(board, id)}</a>;
  const columns: readonly Column<LinkLine>[] = [
    ...(isOfOne === true ? [] : [{ name: "From", cell: (link: LinkLine) => host(link.fromId) }]),
    { name: "To", cell: (link) => host(link.toId), isName: true },
    { name: "State", cell: (link) => <Badge verdict={linkVerdict(link.state)} /> },
    { name: "Round trip", cell: (link) => millis(link.rttMs), class: "right num" },
  ];
  return <Table label="Links" class="plain" testId="links" columns={columns} rows={links} keyOf={keyOf} />;
}

function WorstLinks({ board, links, shown }: LinksProps & { readonly shown: number }) {
  const real = links.filter((link) => link.state !== "none");
  if (real.length === 0)
    return <Empty title="No link is known">Hosts tell of their links with the traffic.</Empty>;
  const worst = real
    .toSorted((a, b) => ORDER[a.state] - ORDER[b.state] || (b.rttMs ?? 0) - (a.rttMs ?? 0))
    .slice(0, shown);
  const open = real.filter((link) => link.state === "open").length;
  return (
    <>
      <p class="quiet pad">
        {open} of {real.length} links are open; the worst and slowest:
      </p>
      <LinkList board={board} links={worst} />
    </>
  );
}
