/**
 * App: the frame around every page: navigation, search, how the page stands to the daemon, the theme.
 *
 * Whatever was told last stays on the screen while the daemon is away, greyed and with the time it is of: an engineer
 * in an outage wants the last known picture more than an empty one. Focus follows a change of page to its title, as it
 * would with pages of their own.
 *
 * Touches: the document, through preact.
 */

import { useEffect, useRef } from "preact/hooks";

import { pageAddress, pageOf, PAGES, type PageName, type Route } from "../route.ts";
import { clock, until } from "../words.ts";

import { Dns } from "./dns.tsx";
import { Drains } from "./drains.tsx";
import { Events } from "./events.tsx";
import { Finder } from "./finder.tsx";
import { Host } from "./host.tsx";
import { Hosts } from "./hosts.tsx";
import { Icon } from "./icon.tsx";
import { Network, Networks } from "./networks.tsx";
import { Overview } from "./overview.tsx";
import { Empty, Title } from "./parts.tsx";
import { Problems } from "./problems.tsx";
import { Service } from "./service.tsx";
import { Services } from "./services.tsx";
import { setTheme, useStore, type Theme } from "./store.ts";

const NAMES: Readonly<Record<PageName, string>> = {
  overview: "Overview",
  services: "Services",
  hosts: "Hosts",
  networks: "Networks",
  dns: "DNS",
  drains: "Drains",
  events: "Events",
  problems: "Problems",
};

/** The whole page. */
export function App() {
  const { link, board, route } = useStore();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const at = JSON.stringify({ ...route.value, asked: null });
  useEffect(() => {
    document.title = `${titleOf(route.value)} · Skein`;
    // Not at the beginning: the focus belongs where the browser put it.
    if (!first.current) {
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    first.current = false;
  }, [at]);
  const isStale = link.value.kind === "lost" && board.value !== null;
  return (
    <div class={`frame ${isStale ? "stale" : ""}`}>
      <a class="skip" href="#main" onClick={(event) => skip(event, main.current)}>
        Skip to the content
      </a>
      <Side />
      <div class="body">
        <Head />
        <Outage />
        <main id="main" ref={main} tabIndex={-1} aria-busy={board.value === null}>
          {board.value === null ? <Waiting /> : <Page route={route.value} />}
        </main>
      </div>
    </div>
  );
}

function skip(event: Event, main: HTMLElement | null): void {
  // The address after the # is the page's: a jump must not change it.
  event.preventDefault();
  main?.focus();
}

function titleOf(route: Route): string {
  if (route.kind === "page") return NAMES[route.page];
  return route.kind === "unknown" ? "Not found" : route.name;
}

function Page({ route }: { readonly route: Route }) {
  switch (route.kind) {
    case "service":
      return <Service key={`${route.network}/${route.name}`} network={route.network} name={route.name} />;
    case "host":
      return <Host key={route.name} name={route.name} />;
    case "network":
      return <Network key={route.name} name={route.name} />;
    case "unknown":
      return (
        <>
          <Title title="Not found" />
          <Empty title="No page has this address">
            <a href={pageAddress("overview")}>Go to the overview</a>
          </Empty>
        </>
      );
    case "page":
      return <Listed page={route.page} asked={route.asked} />;
  }
}

function Listed({
  page,
  asked,
}: {
  readonly page: PageName;
  readonly asked: Readonly<Record<string, string>>;
}) {
  switch (page) {
    case "overview":
      return <Overview />;
    case "services":
      return <Services asked={asked} />;
    case "hosts":
      return <Hosts />;
    case "networks":
      return <Networks />;
    case "dns":
      return <Dns asked={asked} />;
    case "drains":
      return <Drains />;
    case "events":
      return <Events asked={asked} />;
    case "problems":
      return <Problems />;
  }
}

function Side() {
  const { route, board, concerns } = useStore();
  const here = pageOf(route.value);
  const now = board.value;
  const counts: Partial<Record<PageName, number>> = {};
  if (now !== null) {
    counts.services = now.services.length;
    counts.hosts = now.members.filter((line) => line.state !== "left").length;
    counts.networks = now.networks.length;
    if (now.drains.length > 0) counts.drains = now.drains.length;
    if (concerns.value.length > 0) counts.problems = concerns.value.length;
  }
  return (
    <aside class="side" aria-label="Skein">
      <div class="side-in">
        <a class="brand" href={pageAddress("overview")}>
          <Icon name="brand" />
          <span>Skein</span>
        </a>
        <nav aria-label="Pages">
          <ul>
            {PAGES.map((page) => (
              <li key={page}>
                <a href={pageAddress(page)} aria-current={page === here ? "page" : undefined}>
                  <Icon name={page} />
                  <span class="nav-name">{NAMES[page]}</span>
                  {counts[page] !== undefined && (
                    <span class={`nav-count ${page === "problems" ? "alert" : ""}`}>{counts[page]}</span>
                  )}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        {now !== null && (
          <p class="side-foot">
            <span title={`cluster ${now.status.cluster.id}`}>seen from {now.status.node.name}</span>
            <span>
              v{now.status.node.version} · {now.status.dataPlane.mode} mode
            </span>
          </p>
        )}
      </div>
    </aside>
  );
}

function Head() {
  return (
    <header class="head">
      <Finder />
      <LinkState />
      <ThemeSwitch />
    </header>
  );
}

function LinkState() {
  const { link } = useStore();
  const { kind } = link.value;
  const word = { connecting: "Connecting", live: "Live", lost: "Offline" }[kind];
  return (
    <div class={`link-state ${kind}`} role="status" data-testid="link">
      <span class="pulse" aria-hidden="true" />
      {word}
    </div>
  );
}

const NEXT: Readonly<Record<Theme, Theme>> = { auto: "light", light: "dark", dark: "auto" };
const THEME_NAMES: Readonly<Record<Theme, string>> = { auto: "as the system", light: "light", dark: "dark" };

function ThemeSwitch() {
  const store = useStore();
  const theme = store.theme.value;
  return (
    <button
      type="button"
      class="theme"
      title={`Colours: ${THEME_NAMES[theme]}`}
      onClick={() => setTheme(store, NEXT[theme])}
    >
      <Icon name={theme} />
      <span class="unseen">Colours: {THEME_NAMES[theme]}</span>
    </button>
  );
}

function Outage() {
  const { link, board, nowMs } = useStore();
  const { value } = link;
  if (value.kind !== "lost") return null;
  const shown =
    board.value === null ? "Nothing was heard of it yet." : `What you see is of ${clock(value.sinceMs)}.`;
  return (
    <div class="outage" role="alert">
      <b>{value.isFull ? "Too many pages watch this daemon." : "The daemon does not answer."}</b>{" "}
      <span>{shown}</span>
      <span class="outage-retry" aria-hidden="true">
        Next try: {until(value.retryAtMs, nowMs.value)}
      </span>
    </div>
  );
}

function Waiting() {
  return (
    <div class="waiting">
      <h1 class="unseen">Skein</h1>
      <p>Waiting for the first picture of the cluster …</p>
      <div class="ghost-row" aria-hidden="true">
        <span class="ghost" />
        <span class="ghost" />
        <span class="ghost" />
        <span class="ghost" />
      </div>
      <span class="ghost tall" aria-hidden="true" />
    </div>
  );
}
