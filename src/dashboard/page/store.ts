/**
 * Store: what the page knows, as signals, in one object that main.tsx makes.
 *
 * Components read signals and are drawn anew when those change; nobody but the stream and the router writes them. The
 * clock is a signal too, so that "12 s ago" grows without anybody's own timer. It is the daemon's: all times that it
 * tells are by that, and the reader's own may be minutes away from it.
 *
 * Touches: the address, local storage, the media query of the colour scheme, timers of the browser.
 */

import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { TrafficReport } from "../../admin/contract-live.ts";
import type { Board } from "../board.ts";
import { concernsOf, type Concern } from "../judge.ts";
import { routeOf, type Route } from "../route.ts";
import { Trail } from "../trail.ts";

/** How the page stands to the daemon. */
export type Link =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  /** Both times by the daemon's clock. `isFull`: it answers, but has as many watchers as it takes. */
  | { readonly kind: "lost"; readonly sinceMs: number; readonly retryAtMs: number; readonly isFull: boolean };

/** What the reader wants to see by. */
export type Theme = "auto" | "light" | "dark";

/** All that the page knows. */
export interface Store {
  /** Null before the first picture. */
  readonly board: Signal<Board | null>;
  /** Null before the first report. */
  readonly traffic: Signal<TrafficReport | null>;
  /** What somebody should look at; nothing before the first picture. */
  readonly concerns: ReadonlySignal<readonly Concern[]>;
  readonly link: Signal<Link>;
  readonly route: Signal<Route>;
  readonly theme: Signal<Theme>;
  readonly isDark: Signal<boolean>;
  /** By the daemon's clock, as far as it is known: by the reader's before the first report. */
  readonly nowMs: Signal<number>;
  /** How far the daemon's clock is ahead of the reader's; write it by `setClock`. */
  readonly aheadMs: Signal<number>;
  /** Its rings are changed in place: read it after `traffic`, which changes with it. */
  readonly trail: Trail;
}

const THEME_KEY = "skein.theme";
/** A clock that moved by less has not: messages take a while, and not always the same. */
const MOVED_MS = 1000;

/** Makes the store and keeps its route, its clock and its theme up to date for as long as the page lives. */
export function openStore(): Store {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const board = signal<Board | null>(null);
  const traffic = signal<TrafficReport | null>(null);
  const store: Store = {
    board,
    traffic,
    concerns: computed(() => (board.value === null ? [] : concernsOf(board.value, traffic.value))),
    link: signal({ kind: "connecting" }),
    route: signal(routeOf(location.hash)),
    theme: signal(keptTheme()),
    isDark: signal(false),
    nowMs: signal(Date.now()),
    aheadMs: signal(0),
    trail: new Trail(),
  };
  const dress = (): void => {
    const theme = store.theme.value;
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    store.isDark.value = theme === "dark" || (theme === "auto" && prefersDark.matches);
  };
  prefersDark.addEventListener("change", dress);
  store.theme.subscribe(dress);
  addEventListener("hashchange", () => {
    store.route.value = routeOf(location.hash);
  });
  setInterval(() => {
    store.nowMs.value = Date.now() + store.aheadMs.value;
  }, 1000);
  return store;
}

/** Sets the clock by a message that the daemon has sent just now. */
export function setClock(store: Store, atMs: number): void {
  const aheadMs = atMs - Date.now();
  if (Math.abs(aheadMs - store.aheadMs.value) < MOVED_MS) return;
  store.aheadMs.value = aheadMs;
  store.nowMs.value = atMs;
}

/** Changes the theme and keeps it for the next visit. */
export function setTheme(store: Store, theme: Theme): void {
  store.theme.value = theme;
  try {
    if (theme === "auto") localStorage.removeItem(THEME_KEY);
    else localStorage.setItem(THEME_KEY, theme);
  } catch {
    // A browser may forbid storage: then it holds until the page is closed.
  }
}

function keptTheme(): Theme {
  try {
    const kept = localStorage.getItem(THEME_KEY);
    return kept === "light" || kept === "dark" ? kept : "auto";
  } catch {
    // As above.
    return "auto";
  }
}

/** By which components get the store. */
export const StoreContext = createContext<Store | null>(null);

/** The store. @throws outside of the app */
export function useStore(): Store {
  const store = useContext(StoreContext);
  if (store === null) throw new Error("no store: the component is outside of the app");
  return store;
}

/** The board, in components that are drawn only when there is one. @throws before the first picture */
export function useBoard(): Board {
  const board = useStore().board.value;
  if (board === null) throw new Error("no picture yet: the component is drawn too early");
  return board;
}
