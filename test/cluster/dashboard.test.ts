/*
 * Dashboard: what a browser shows of three real daemons while replicas, hosts and the daemon itself come and go, how
 * soon, and that nothing which labels or a hostile member say becomes markup.
 */

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import type { Page } from "playwright-core";

import { buildDashboard } from "../../build/dashboard.ts";
import type { EventLine } from "../../src/admin/contract.ts";
import { PAGES } from "../../src/dashboard/route.ts";
import { browserSkip as skip, openBrowser } from "../support/browser.ts";
import { folderFor, type DaemonUnderTest, type Ending } from "../support/daemons.ts";
import { openEngine } from "../support/engine.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

import {
  doorAt,
  explainReplica,
  prepareCluster,
  startAll,
  untilAlive,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { hostileContainer, joinHostile } from "./hostile.ts";
import { steadyLoad } from "./load.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The daemons serve what was built last: let that be the page as it is now. */
async function refreshPage(t: Ending): Promise<void> {
  const folder = folderFor(t);
  const served = join(ROOT, "dist/dashboard");
  await buildDashboard(ROOT, folder);
  mkdirSync(served, { recursive: true });
  for (const name of readdirSync(folder)) {
    const [made, there] = [join(folder, name), join(served, name)];
    if (!existsSync(there) || !readFileSync(there).equals(readFileSync(made))) copyFileSync(made, there);
  }
}

/** Waits until an element of the page shows such a text. @returns when it did, milliseconds since 1970 */
async function seenAt(page: Page, selector: string, pattern: RegExp): Promise<number> {
  // Each frame: what counts is when somebody could have seen it.
  const script = `new Promise((resolve, reject) => {
    const end = performance.now() + ${DEADLINE_MS};
    const look = () => {
      const found = [...document.querySelectorAll(${JSON.stringify(selector)})];
      if (found.some((one) => ${String(pattern)}.test(one.textContent))) resolve(Date.now());
      else if (performance.now() < end) requestAnimationFrame(look);
      else reject(new Error("not seen: " + ${JSON.stringify(`${selector} ${String(pattern)}`)} +
        " in " + document.querySelector("main").innerText));
    };
    look();
  })`;
  return Number(await page.evaluate(script));
}

/** When a daemon knew of something, by its own journal; the last time it did. */
async function toldAt(host: DaemonUnderTest, kind: string, subject: string): Promise<number> {
  const isIt = (one: EventLine): boolean => one.kind === kind && one.subject.includes(subject);
  const find = async (): Promise<EventLine | undefined> =>
    ((await host.get("/api/v1/events")) as readonly EventLine[]).findLast(isIt);
  return (await until(find, { what: `${host.name} tells ${kind} of ${subject}` })).atMs;
}

/** True where the first element that fits has a colour that everybody would call red. */
async function isRed(page: Page, selector: string, property: "color" | "stroke"): Promise<boolean> {
  const script = `getComputedStyle(document.querySelector(${JSON.stringify(selector)})).${property}`;
  const numbers = String(await page.evaluate(script)).matchAll(/[\d.]+/g);
  const [red = 0, green = 0, blue = 0] = [...numbers].map(Number);
  return red > 1.4 * green && red > 1.4 * blue;
}

test("cluster: the dashboard of three hosts", { skip }, async (t) => {
  const [browser] = await Promise.all([openBrowser(t), refreshPage(t)]);
  const { page, complaints } = await browser.open();
  const { block, hosts } = await prepareCluster(t, { role: "manager" });
  const [first, second, third] = hosts;
  const [[one] = [], [two] = [], [three] = []] = await webReplicas(t, block, [1, 1, 1]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const engine = await openEngine([hostileContainer(one)]);
  t.after(() => engine.close());
  engine.networks = [];
  const publish = ["8088:8000"];
  first.configure({ docker: { socket: engine.socketPath } });
  second.configure({ services: [webService([two], { publish })] });
  third.configure({ services: [webService([three], { publish })] });
  await startAll(hosts);
  await untilServing(hosts, [one, two, three]);
  const twoIs = await explainReplica(first, two.address);
  const door = doorAt(second, 8088);
  await untilOpen(door);

  const show = async (hash: string): Promise<void> => {
    await page.goto(`http://${first.address}:7651/${hash}`);
    await page.locator("main h1").first().waitFor();
  };
  const untilLink = (word: string): Promise<void> => page.getByTestId("link").getByText(word).waitFor();
  const nameOfTwo = `${twoIs.name}@host-2`;
  /** Its row in the table of replicas. */
  const row = (state: string, why = ""): RegExp => new RegExp(`^${state}.*${two.address}.*${why}`);
  const tell = (context: { diagnostic(text: string): void }, what: string, ms: number): void =>
    context.diagnostic(`${what}: seen ${Math.round(ms)} ms after the daemon knew`);

  await t.test(
    "it shows the hosts, their links and what passes, under its strict policy",
    async (context) => {
      const load = steadyLoad(context, [door]);
      await show("#/");
      await untilLink("Live");
      await until(async () => (await page.locator("g.edge[data-state=open]").count()) === 3);
      await seenAt(page, "main section", /^Busiest services.*default\/web[1-9]/);
      await page.locator(".uplot canvas").first().waitFor();
      await show("#/hosts");
      await seenAt(page, "[data-testid=hosts] tr", /^host-2.*[1-9]$/);
      await load.stop();
      assert.deepEqual(complaints(), []);
    },
  );

  await t.test("the search finds a replica by its name, and leads to its service", async () => {
    await page.keyboard.press("/");
    await page.keyboard.type(twoIs.name);
    await page.getByRole("option").filter({ hasText: "default/web on host-2" }).click();
    await seenAt(page, "main tr", row("in"));
  });

  await t.test("a replica that is killed is seen out, with its reason, and back in", async (context) => {
    await show("#/services/default/web");
    await seenAt(page, "main tr", row("in"));
    await two.stop();
    const outAt = await seenAt(page, "main tr", row("out", "connection refused"));
    tell(context, "out", outAt - (await toldAt(first, "replica.unready", nameOfTwo)));
    await two.start();
    const inAt = await seenAt(page, "main tr", row("in"));
    tell(context, "in", inAt - (await toldAt(first, "replica.ready", nameOfTwo)));
  });

  await t.test(
    "a daemon that is killed leaves what was known, greyed; then the page is live again",
    async () => {
      const ground = `getComputedStyle(document.querySelector("main")).filter`;
      assert.equal(await page.evaluate(ground), "none");
      await first.end("SIGKILL");
      await untilLink("Offline");
      await page
        .getByRole("alert")
        .getByText(/What you see is of \d\d:\d\d:\d\d/)
        .waitFor();
      assert.equal(await page.evaluate(ground), "grayscale(1)");
      await seenAt(page, "main tr", row("in"));
      await two.stop();
      await first.start();
      await untilLink("Live");
      await seenAt(page, "main tr", row("out", "connection refused"));
      assert.equal(await page.evaluate(ground), "none");
      assert.equal(await page.getByRole("alert").count(), 0);
      await two.start();
      await untilServing(hosts, [one, two, three]);
      // What the browser itself says of a daemon that is away.
      assert.deepEqual(
        complaints().filter((text) => !/ERR_|Failed to load resource/.test(text)),
        [],
      );
    },
  );

  const leave = await joinHostile(t, first, block.address(9));

  await t.test("texts of labels and of a hostile member stay texts, on every page", async () => {
    const hostile = ["#/hosts", "#/hosts/hostile", "#/services/default/hostile", "#/problems"];
    for (const hash of [...PAGES.map((name) => `#/${name}`), ...hostile]) {
      await show(hash);
      if (hostile.includes(hash)) await seenAt(page, "main", /<img src=x onerror=.*<script>/);
      assert.equal(await page.locator("img, #app script").count(), 0, hash);
    }
    assert.equal(await page.evaluate("window.pwned"), undefined);
    assert.deepEqual(complaints(), []);
  });

  await t.test("a drain tells who has not applied it, and when all have", async (context) => {
    // Whom the replica's owner does not know of, it does not wait for.
    await untilAlive(second, [...hosts, { name: "hostile" }]);
    assert.equal((await third.cli("drain", twoIs.id)).code, 0);
    await show("#/drains");
    await seenAt(page, "main tr", new RegExp(`^in progress.*${twoIs.name}.*hostile$`));
    leave();
    const appliedAt = await seenAt(page, "main tr", new RegExp(`^applied.*${twoIs.name}`));
    tell(context, "applied", appliedAt - (await toldAt(first, "replica.drained", nameOfTwo)));
  });

  await t.test(
    "a host that is cut off turns red, and its links with it, until it is back",
    async (context) => {
      await show("#/");
      third.signal("SIGSTOP");
      try {
        await page.locator("g.edge[data-state=broken]").first().waitFor({ state: "attached" });
        assert.ok(await isRed(page, "g.edge[data-state=broken] line", "stroke"));
        await show("#/hosts");
        const deadAt = await seenAt(page, "main tr", /^host-3dead/);
        tell(context, "dead", deadAt - (await toldAt(first, "member.dead", "host-3")));
        assert.ok(await isRed(page, "[data-testid=hosts] .badge.poor", "color"));
        await page.locator("[data-testid=links] td[data-state=broken]").first().waitFor();
        assert.ok(await isRed(page, "[data-testid=links] td[data-state=broken]", "color"));
      } finally {
        third.signal("SIGCONT");
      }
      await seenAt(page, "main tr", /^host-3alive/);
      assert.deepEqual(complaints(), []);
    },
  );
});
