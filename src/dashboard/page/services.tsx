/**
 * Services: all of them, filtered and sorted, of which only the rows near the screen are drawn.
 *
 * A grid by its roles (WAI-ARIA): the arrows, Home, End and the page keys move between rows, Enter opens one, and the
 * count of all rows is told though few exist. What is filtered stands in the address, so that it can be kept and sent.
 *
 * Touches: the document, its scroll, the address.
 */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { SERVICE_STATES, serviceVerdict } from "../judge.ts";
import { pageAddress, serviceAddress } from "../route.ts";
import {
  chosenRows,
  countByState,
  rowsOf,
  scrollToShow,
  sortNamed,
  SORTS,
  stateNamed,
  windowOf,
  type ServiceRow,
} from "../rows.ts";
import { count, millis, short } from "../words.ts";

import { Badge, Empty, Share, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";

/** As the style sheet has it. */
const ROW_HEIGHT = 36;

const COLUMNS = [
  "Service",
  "State",
  "Ready",
  "Address",
  "Reached by",
  "Per second",
  "p95",
  "Errors",
] as const;

type Asked = Readonly<Record<string, string>>;

/** The page. */
export function Services({ asked }: { readonly asked: Asked }) {
  const board = useBoard();
  const { traffic } = useStore();
  const services = traffic.value?.services;
  const rows = useMemo(() => rowsOf(board.services, services ?? []), [board.services, services]);
  const text = asked["q"] ?? "";
  const state = stateNamed(asked["state"]);
  const sort = sortNamed(asked["sort"]);
  const shown = useMemo(() => chosenRows(rows, { text, state, sort }), [rows, text, state, sort]);
  return (
    <>
      <Title title="Services">
        <span class="quiet" role="status" data-testid="shown">
          {shown.length === rows.length
            ? count(rows.length, "service")
            : `${shown.length} of ${count(rows.length, "service")}`}
        </span>
      </Title>
      <Filters asked={asked} rows={rows} />
      {shown.length === 0 ? (
        <NoRows isEmpty={rows.length === 0} />
      ) : (
        <Grid rows={shown} question={`${text} ${state} ${sort}`} />
      )}
    </>
  );
}

function NoRows({ isEmpty }: { readonly isEmpty: boolean }) {
  if (!isEmpty) {
    return (
      <Empty title="No service fits">
        <a href={pageAddress("services")}>Show all of them</a>
      </Empty>
    );
  }
  return (
    <Empty title="No services yet">
      Start a container with the label <code>skein.enable=true</code>, or name a service in the configuration.
    </Empty>
  );
}

function Filters({ asked, rows }: { readonly asked: Asked; readonly rows: readonly ServiceRow[] }) {
  const counts = countByState(rows);
  const state = stateNamed(asked["state"]);
  // In place, not as a step of the history: going back must not spell the word backwards.
  const ask = (more: Asked): void => location.replace(pageAddress("services", { ...asked, ...more }));
  return (
    <div class="filters">
      <input
        type="search"
        aria-label="Filter services"
        placeholder="Filter by name, address, host rule"
        value={asked["q"] ?? ""}
        spellcheck={false}
        onInput={(event) => ask({ q: event.currentTarget.value })}
      />
      <div class="chips" role="group" aria-label="State">
        <button type="button" class="chip" aria-pressed={state === null} onClick={() => ask({ state: "" })}>
          all <span class="num">{rows.length}</span>
        </button>
        {SERVICE_STATES.map((one) => (
          <button
            type="button"
            key={one}
            class={`chip ${one}`}
            aria-pressed={state === one}
            onClick={() => ask({ state: state === one ? "" : one })}
          >
            {one} <span class="num">{counts[one]}</span>
          </button>
        ))}
      </div>
      <label class="sort">
        Sort by{" "}
        <select
          value={sortNamed(asked["sort"])}
          onChange={(event) => ask({ sort: event.currentTarget.value })}
        >
          {SORTS.map((sort) => (
            <option key={sort} value={sort}>
              {sort}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

function Grid({ rows, question }: { readonly rows: readonly ServiceRow[]; readonly question: string }) {
  const box = useRef<HTMLDivElement>(null);
  const { sight, look } = useSight(box);
  const [current, setCurrent] = useState(0);
  const wantsFocus = useRef(false);
  const at = Math.min(current, rows.length - 1);
  const { first, end } = windowOf(rows.length, { ...sight, rowHeight: ROW_HEIGHT });
  useEffect(() => {
    box.current?.scrollTo(0, 0);
    setCurrent(0);
  }, [question]);
  useEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    box.current?.querySelector<HTMLElement>(`[data-row="${at}"]`)?.focus({ preventScroll: true });
  });
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(sight.height / ROW_HEIGHT) - 1);
    const next = targetOf(event.key, at, { last: rows.length - 1, page });
    if (event.key === "Enter") location.hash = serviceAddress(rows[at]?.key ?? "");
    if (next === null) return;
    event.preventDefault();
    wantsFocus.current = true;
    setCurrent(next);
    const { current: element } = box;
    if (element === null) return;
    // What the head hides is not seen.
    const seen = {
      scrolled: element.scrollTop,
      height: element.clientHeight - ROW_HEIGHT,
      rowHeight: ROW_HEIGHT,
    };
    element.scrollTop = scrollToShow(next, seen);
    look();
  };
  return (
    <div
      class="grid"
      role="grid"
      aria-label="Services"
      aria-rowcount={rows.length + 1}
      aria-colcount={COLUMNS.length}
      ref={box}
      onScroll={look}
      onKeyDown={onKeyDown}
    >
      <GridHead />
      <div class="grid-body" role="rowgroup" style={{ height: `${rows.length * ROW_HEIGHT}px` }}>
        {rows.slice(first, end).map((row, index) => (
          <Row
            key={row.key}
            row={row}
            at={first + index}
            isCurrent={first + index === at}
            choose={setCurrent}
          />
        ))}
      </div>
    </div>
  );
}

/** What is seen of a box that scrolls; `look` looks again. */
function useSight(box: { readonly current: HTMLElement | null }) {
  const [sight, setSight] = useState({ scrolled: 0, height: 800 });
  const look = (): void => {
    const { current: element } = box;
    if (element !== null) setSight({ scrolled: element.scrollTop, height: element.clientHeight });
  };
  useLayoutEffect(() => {
    const { current: element } = box;
    if (element === null) return;
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    return () => watcher.disconnect();
  }, []);
  return { sight, look };
}

function GridHead() {
  return (
    <div class="grid-head" role="rowgroup">
      <div class="row" role="row" aria-rowindex={1}>
        {COLUMNS.map((name) => (
          <span key={name} role="columnheader">
            {name}
          </span>
        ))}
      </div>
    </div>
  );
}

function targetOf(
  key: string,
  at: number,
  { last, page }: { readonly last: number; readonly page: number },
): number | null {
  const targets: Readonly<Record<string, number>> = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: last,
  };
  const target = targets[key];
  return target === undefined ? null : Math.max(0, Math.min(last, target));
}

interface RowProps {
  readonly row: ServiceRow;
  readonly at: number;
  readonly isCurrent: boolean;
  readonly choose: (at: number) => void;
}

function Row({ row, at, isCurrent, choose }: RowProps) {
  const { line, traffic } = row;
  const rates = traffic?.rates;
  const busy = rates === undefined ? null : rates.requests + rates.connections;
  const errors = rates?.errors ?? null;
  return (
    <div
      class="row"
      role="row"
      data-row={at}
      aria-rowindex={at + 2}
      tabIndex={isCurrent ? 0 : -1}
      style={{ transform: `translateY(${at * ROW_HEIGHT}px)` }}
      onFocus={() => choose(at)}
    >
      <span role="gridcell" class="name">
        <a href={serviceAddress(row.key)} tabIndex={-1} title={row.key}>
          <span class="quiet">{line.network}/</span>
          {line.name}
        </a>
      </span>
      <span role="gridcell">
        <Badge verdict={serviceVerdict(line)} title={line.problems.join("\n")} />
      </span>
      <span role="gridcell">
        <Share part={line.ready} of={line.replicas} />
      </span>
      <span role="gridcell" class="mono">
        {line.vip ?? line.endpointMode}
      </span>
      <span role="gridcell" class="reach" title={reachOf(line)}>
        {reachOf(line)}
      </span>
      <span role="gridcell" class="num">
        {short(busy)}
      </span>
      <span role="gridcell" class="num">
        {millis(traffic?.latencyMs?.p95 ?? null)}
      </span>
      <span role="gridcell" class={`num ${errors !== null && errors > 0 ? "bad-text" : "quiet"}`}>
        {short(errors)}
      </span>
    </div>
  );
}

/** By what a service is reached: its ports, published ports and host rules. */
function reachOf(line: ServiceRow["line"]): string {
  const ports = line.ports.map((port) => `${port.port}/${port.protocol}`);
  const published = line.publish.map((port) => `:${port.published}`);
  const routes = line.http.map((route) => `${route.host}${route.path === "/" ? "" : route.path}`);
  return [...ports, ...published, ...routes].join("  ");
}
