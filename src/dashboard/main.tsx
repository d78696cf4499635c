/**
 * Dashboard: the page's beginning; makes the store, follows the daemon, draws the app.
 *
 * The page only reads: it has no button that changes the cluster, and so it needs no right to. What can be told before
 * the first picture is told by app.tsx.
 *
 * Touches: the document.
 */

import { render } from "preact";

import { App } from "./page/app.tsx";
import { openStore, StoreContext } from "./page/store.ts";
import { follow } from "./page/stream.ts";

const root = document.getElementById("app");
if (root !== null) {
  const store = openStore();
  follow(store);
  render(
    <StoreContext.Provider value={store}>
      <App />
    </StoreContext.Provider>,
    root,
  );
}
