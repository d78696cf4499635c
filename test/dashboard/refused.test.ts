// Refused: a page in a real browser that gets no stream, and says whether it is for want of room or of a daemon.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import type { Page } from "playwright-core";

import { buildDashboard } from "../../build/dashboard.ts";
import { browserSkip as skip, openBrowser, type OpenPage } from "../support/browser.ts";
import { until } from "../support/wait.ts";

import { FakeDaemon } from "./fake-daemon.ts";
import { member, picture } from "./pictures.ts";

const folder = mkdtempSync(join(tmpdir(), "skein-refused-"));
const MEMBERS = [member("host-1", { self: true }), member("host-3")];
const daemon = new FakeDaemon(folder, picture({ members: MEMBERS }));
const pages: OpenPage[] = [];
const endings: (() => unknown)[] = [];

before(async () => {
  await buildDashboard(join(import.meta.dirname, "../.."), folder);
  await daemon.start();
  if (skip !== false) return;
  // What a hook registers ends with the hook.
  const browser = await openBrowser({ after: (end: () => unknown) => endings.push(end) });
  pages.push(await browser.open());
});

after(async () => {
  for (const end of endings) await end();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The page of the hosts, as if it had been opened just now. */
async function opened(): Promise<Page> {
  const [at] = pages;
  assert.ok(at !== undefined);
  await at.page.goto("about:blank");
  await at.page.goto(`${daemon.url}#/hosts`);
  return at.page;
}

test("a daemon that has no room for a page says so, and shows it when there is room", { skip }, async () => {
  daemon.isFull = true;
  const page = await opened();
  await page.getByRole("alert").getByText("Too many pages watch this daemon.").waitFor();
  daemon.isFull = false;
  await page.getByTestId("link").getByText("Live").waitFor();
  await page.locator("main").getByText("host-3").first().waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
});

test("a daemon that is away behind a proxy is told as away, not as full", { skip }, async () => {
  daemon.isBehindProxy = true;
  const page = await opened();
  const alert = page.getByRole("alert");
  await alert.getByText("The daemon does not answer.").waitFor();
  const before = daemon.asked.length;
  const asked = (): number => daemon.asked.slice(before).filter((path) => path === "/api/v1/watch").length;
  // By then it has heard at least once why it is refused.
  await until(() => asked() >= 4);
  assert.equal(await alert.getByText("Too many pages").count(), 0);
  daemon.isBehindProxy = false;
  await page.getByTestId("link").getByText("Live").waitFor();
});
