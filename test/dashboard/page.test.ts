/*
 * Page: the dashboard in a real browser, on a daemon of the test's own making: what is told is seen, found, reached by
 * keys and read by readers of the screen, in light and dark and on a telephone; and markup in names stays text.
 */

import assert from "node:assert/strict";
import { readFileSync, readdirSync, rmSync, mkdtempSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";

import type { Page } from "playwright-core";

import { buildDashboard } from "../../build/dashboard.ts";
import type { Picture } from "../../src/admin/contract-live.ts";
import { keyOf } from "../../src/dashboard/board.ts";
import { PAGES } from "../../src/dashboard/route.ts";
import { browserSkip as skip, openBrowser, type OpenPage } from "../support/browser.ts";
import { until } from "../support/wait.ts";

import { FakeDaemon } from "./fake-daemon.ts";
import {
  drain,
  event,
  largePicture,
  linksOf,
  link,
  member,
  network,
  picture,
  rates,
  replica,
  report,
  service,
  status,
} from "./pictures.ts";

const ROOT = join(import.meta.dirname, "../..");
/** All that a browser fetches, compressed as a proxy would. */
const BYTES_MAX = 120_000;

const folder = mkdtempSync(join(tmpdir(), "skein-page-"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const daemon = new FakeDaemon(folder, picture());
/** In the order in which they were opened: the one for most tests, and one whose policy lets the checker in. */
const pages: OpenPage[] = [];
const endings: (() => unknown)[] = [];

before(async () => {
  await buildDashboard(ROOT, folder);
  await daemon.start();
  if (skip !== false) return;
  // What a hook registers ends with the hook.
  const browser = await openBrowser({ after: (end: () => unknown) => endings.push(end) });
  // The policy of the page would refuse the checker's own script.
  pages.push(await browser.open(), await browser.open({ bypassCSP: true }));
});

after(async () => {
  for (const end of endings) await end();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Start {
  readonly picture: Picture;
  readonly hash: string;
}

/** The page at an address, as if it had been opened just now; it has forgotten all it knew. */
async function opened(
  { picture: shown, hash }: Start,
  at: OpenPage | undefined = pages[0],
): Promise<OpenPage> {
  assert.ok(at !== undefined);
  daemon.picture = shown;
  await at.page.goto("about:blank");
  const { begun } = daemon;
  await at.page.goto(`${daemon.url}${hash}`);
  await at.page.locator("main h1").first().waitFor();
  // A page has its headings before it hears anything; what is told before that is told to nobody.
  await until(() => daemon.begun > begun);
  at.complaints();
  return at;
}

async function told(page: Page): Promise<string> {
  return page.locator("main").innerText();
}

async function sees(page: Page, text: string | RegExp): Promise<void> {
  await page.locator("main").getByText(text).first().waitFor();
}

/** The service `web`, as its own page asks for it. */
function web(): object {
  const { network: of, name, vip, ports, publish, http, problems, stack, endpointMode } = service("web");
  return {
    network: of,
    name,
    vip,
    ports,
    publish,
    http,
    problems,
    stack,
    endpointMode,
    vipTentative: false,
    aliasVips: [],
    aliases: ["www"],
    passthrough: [],
    traffic: { balance: "p2c", prefer: "any" },
    replicas: [
      replica("web-1"),
      replica("web-2", {
        eligible: false,
        tier: "never",
        state: "unready",
        reason: "probe: connection refused",
        saidBy: "host-2",
        node: "host-2",
      }),
    ],
  };
}

const RICH = picture({
  members: [
    member("host-1", { self: true }),
    member("host-2", { via: "host-1" }),
    member("host-3", { state: "dead" }),
  ],
  services: [
    service("web", { ready: 1, problems: ["label skein.lbb is unknown"] }),
    service("db", { ready: 0 }),
  ],
  drains: [drain("web-1"), drain("web-2", { applied: true, pending: [] })],
  networks: [network("app", { sound: false, problems: ["range is taken"] })],
  status: status({ warnings: ["few open files are allowed"] }),
});

/** Of the large picture with one more host dead and one more service down: dead hosts, services down, partly down. */
const CONCERNS = 3 + 11 + 24;

const HOST = {
  ...member("host-2"),
  labels: { disk: "ssd" },
  prefixes: ["192.168.10.0/24"],
  runs: [
    {
      service: "default/web",
      id: "r2",
      name: "web-2",
      address: "172.17.0.9",
      eligible: false,
      reason: "refused",
    },
  ],
  certificate: { endsAtMs: Date.now() + 86_400_000, issuerGeneration: 1 },
};
const NETWORK = {
  ...network("app"),
  hosts: [
    {
      node: "host-1",
      state: "alive",
      prefix: "10.160.0.0/24",
      prefix6: null,
      tentative: false,
      addresses: { used: 3, total: 253 },
      carries: true,
      reason: null,
    },
  ],
  serviceKeys: ["app/db"],
};

test("size: all of the page is at most 120 kB compressed", () => {
  const packed = readdirSync(folder).filter((name) => name.endsWith(".gz"));
  const sizes = packed.map((name) => statSync(join(folder, name)).size);
  for (const name of packed)
    assert.deepEqual(
      gunzipSync(readFileSync(join(folder, name))),
      readFileSync(join(folder, name.slice(0, -3))),
    );
  const sum = sizes.reduce((one, other) => one + other, 0);
  assert.ok(sizes.length >= 4 && sum <= BYTES_MAX, `${sum} bytes`);
});

test("source: nothing is ever set as markup", () => {
  const files = readdirSync(join(ROOT, "src/dashboard"), { recursive: true, encoding: "utf8" });
  const code = files.filter((name) => /\.tsx?$/.test(name));
  assert.ok(code.length > 20);
  const found = code.filter((name) =>
    /innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|eval\(|new Function/.test(
      readFileSync(join(ROOT, "src/dashboard", name), "utf8"),
    ),
  );
  assert.deepEqual(found, []);
});

test("every page shows what the daemon told, without a complaint of the browser", { skip }, async () => {
  daemon.answers.set("/api/v1/services/default/web", web());
  daemon.answers.set("/api/v1/resolve", (query: URLSearchParams) => ({
    name: query.get("name"),
    type: query.get("type"),
    rcode: "NOERROR",
    answers: [{ type: "A", ttl: 5, data: "10.96.0.10" }],
    as: query.get("as") ?? "this host",
  }));
  const { page, complaints } = await opened({ picture: RICH, hash: "#/" });
  daemon.traffic(report(Date.now()));
  await sees(page, "no replica is ready");
  await sees(page, "Busiest services");
  const chart = page.getByRole("region", { name: "Traffic", exact: true });
  await chart.locator(".uplot canvas").waitFor();
  await chart.locator(".u-over").hover();
  await chart.getByText(/^\d\d:\d\d:\d\d$/).waitFor();
  const words: Readonly<Record<string, string>> = {
    services: "default/",
    hosts: "reached",
    networks: "10.160.0.0/16",
    dns: "10.96.0.10",
    drains: "1 of 2 hosts",
    events: "is out: probe: refused",
    problems: "few open files are allowed",
  };
  for (const name of PAGES.filter((one) => one !== "overview")) {
    const link = page.getByRole("navigation").getByRole("link", { name: new RegExp(`^${name}`, "i") });
    await link.click();
    await page.locator("h1", { hasText: new RegExp(name, "i") }).waitFor();
    await sees(page, name === "hosts" ? "via host-1" : (words[name] ?? ""));
  }
  assert.deepEqual(complaints(), []);
});

test("a service tells of each replica whether it is in, why not, and who says so", { skip }, async () => {
  const { page } = await opened({ picture: RICH, hash: "#/services/default/web" });
  const row = page.getByTestId("replicas").getByRole("row").filter({ hasText: "web-2" });
  await row.getByText("probe: connection refused").waitFor();
  const text = await row.innerText();
  assert.match(text, /out[^]*web-2[^]*host-2[^]*probe: connection refused[^]*host-2/);
  await page.getByTestId("answer").getByText("10.96.0.10").waitFor();
  assert.match(await page.getByTestId("answer").innerText(), /NOERROR[^]*10\.96\.0\.10/);
  await page.getByLabel("Asked by").fill("web-1");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.getByTestId("answer").getByText("to web-1").waitFor();
});

test("a change is seen at once, and a replica's reason is asked for again", { skip }, async () => {
  const { page } = await opened({ picture: RICH, hash: "#/services/default/web" });
  await page.getByTestId("replicas").waitFor();
  daemon.answers.set("/api/v1/services/default/web", {
    ...web(),
    replicas: [replica("web-1", { eligible: false, tier: "never", reason: "node host-1 is dead" })],
  });
  daemon.change({ services: { set: [], gone: [], touched: ["default/web"] } });
  await sees(page, "node host-1 is dead");
  daemon.change({ services: { set: [], gone: ["default/web"], touched: [] } });
  await sees(page, "There is no service default/web");
  daemon.change({ events: [event(900, { subject: "host-9", text: "joined" })] });
  await page.goto(`${daemon.url}#/events`);
  await sees(page, "host-9");
  daemon.answers.set("/api/v1/services/default/web", web());
});

test("a broken link is told in the table of links and where somebody looks first", { skip }, async () => {
  const { page } = await opened({ picture: picture(), hash: "#/hosts" });
  daemon.traffic(report(Date.now(), { links: linksOf(["host-1", "host-2", "host-3"]) }));
  const cells = page.getByTestId("links").locator("td[data-state=open]");
  await until(async () => (await cells.count()) === 6);
  const broken = linksOf(["host-1", "host-2"], { state: "broken", rttMs: null });
  daemon.traffic(report(Date.now() + 1000, { links: broken }));
  await page.getByTestId("links").getByText("broken").first().waitFor();
  await page.goto(`${daemon.url}#/problems`);
  await sees(page, "the link between them is broken");
});

test("the key / finds anything from anywhere, and the arrows and Enter go there", { skip }, async () => {
  const { page } = await opened({ picture: largePicture(20, 300), hash: "#/events" });
  await page.keyboard.press("/");
  await page.keyboard.type("service-27");
  const options = page.getByRole("option");
  await until(async () => (await options.count()) >= 3);
  await page.keyboard.press("ArrowDown");
  assert.equal(await options.nth(1).getAttribute("aria-selected"), "true");
  const name = await options.nth(1).locator(".hit-name").innerText();
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: name.split("/")[1] ?? "" }).waitFor();
  await until(async () => (await page.evaluate("document.activeElement?.tagName")) === "H1");
  await page.keyboard.press("/");
  await page.keyboard.type("no such thing");
  await page.getByText("Nothing here is called so.").waitFor();
  await page.keyboard.press("Escape");
  // No picture tells of replicas: the daemon is asked for those of the service in the name.
  const replicas = [replica("service-42-b")];
  daemon.answers.set("/api/v1/services/default/service-42", { ...web(), name: "service-42", replicas });
  await page.keyboard.press("/");
  await page.keyboard.type("service-42-");
  await options.getByText("service-42-b").waitFor();
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "service-42" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("combobox", { name: /Search/ }).inputValue(), "");
});

test("the first Tab leads to the content, past the navigation", { skip }, async () => {
  const { page } = await opened({ picture: picture(), hash: "#/" });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate("document.activeElement?.id"), "main");
  assert.ok(page.url().endsWith("#/"));
});

test(
  "1,000 services on 100 hosts: few rows exist, each is reached by keys and filters",
  { skip },
  async () => {
    const { page } = await opened({ picture: largePicture(100, 1000), hash: "#/services" });
    const grid = page.getByRole("grid", { name: "Services" });
    await grid.waitFor();
    assert.equal(await grid.getAttribute("aria-rowcount"), "1001");
    const rows = grid.locator("[data-row]");
    assert.ok((await rows.count()) < 80);
    await rows.first().focus();
    await page.keyboard.press("End");
    await grid.locator('[data-row="999"]:focus').waitFor();
    await page.keyboard.press("ArrowUp");
    await grid.locator('[data-row="998"]:focus').waitFor();
    await page.keyboard.press("Home");
    await grid.locator('[data-row="0"]:focus').waitFor();
    await page.getByRole("button", { name: /^down/ }).click();
    await page.getByTestId("shown").getByText("10 of 1000").waitFor();
    await page.getByLabel("Filter services").fill("service-97");
    await page.getByTestId("shown").getByText("2 of 1000").waitFor();
    await page.reload();
    await page.getByTestId("shown").getByText("2 of 1000").waitFor();
    const line = daemon.picture.services.find((one) => one.name === "service-97");
    assert.ok(line !== undefined);
    daemon.change({ services: { set: [{ ...line, ready: 10 }], gone: [], touched: [keyOf(line)] } });
    await page.getByTestId("shown").getByText("1 of 1000").waitFor();
    await rows.first().focus();
    await page.keyboard.press("Enter");
    await page.locator("h1", { hasText: "service-970" }).waitFor();
  },
);

test("100 hosts and 1,000 services: every page shows them, and what changes", { skip }, async () => {
  const large = largePicture(100, 1000);
  const { page } = await opened({ picture: large, hash: "#/hosts" });
  const links = linksOf(
    large.members.slice(0, 65).map(({ name }) => name),
    { rttMs: 0.4 },
  );
  const traffic = (atMs: number, slow: number): void =>
    daemon.traffic(
      report(atMs, {
        services: large.services.map((line) => ({
          key: keyOf(line),
          rates: rates({ requests: 9 }),
          latencyMs: null,
          ejected: 0,
        })),
        links: links.map((one, at) => (at === 4000 ? { ...one, rttMs: slow } : one)),
      }),
    );
  const go = async (hash: string): Promise<void> => {
    await page.goto(`${daemon.url}${hash}`);
    await page.locator("main h1").first().waitFor();
  };
  const hosts = page.getByTestId("hosts").locator("tbody tr");
  traffic(Date.now(), 77);
  assert.equal(await hosts.count(), 100);
  await page.getByTestId("links").getByText("77 ms").waitFor();
  assert.equal(await page.getByTestId("links").locator("tbody tr").count(), 48);
  const [dead = member("none")] = large.members.filter(({ name }) => name === "host-100");
  daemon.change({ members: { set: [{ ...dead, state: "dead" }], gone: [] } });
  await hosts.filter({ hasText: "host-100" }).getByText("dead").waitFor();
  traffic(Date.now() + 1000, 88);
  await page.getByTestId("links").getByText("88 ms").waitFor();

  await go("#/");
  const tile = (name: string) => page.locator(".tile", { hasText: name }).locator(".tile-value");
  assert.equal(await tile("Hosts").innerText(), "97 / 100");
  assert.equal(await tile("Services").innerText(), "990 / 1000");
  assert.equal(await page.locator(".host-list li").count(), 12);
  assert.equal(await page.getByRole("region", { name: "Busiest" }).locator("tbody tr").count(), 8);
  const down = large.services.filter(({ name }) => name === "service-1");
  const set = down.map((line) => ({ ...line, ready: 0 }));
  daemon.change({ services: { set, gone: [], touched: set.map(keyOf) } });
  await tile("Services").getByText("989").waitFor();

  await go("#/problems");
  const concerns = page.getByTestId("concerns").locator("li");
  assert.equal(await concerns.count(), CONCERNS);
  daemon.change({ services: { set: down, gone: [], touched: down.map(keyOf) } });
  await until(async () => (await concerns.count()) === CONCERNS - 1);

  await go("#/events");
  const events = page.getByTestId("events").locator("ol.events li");
  assert.equal(await events.count(), 200);
  daemon.change({ events: [event(900, { text: "is seen at once" })] });
  await events.first().getByText("is seen at once").waitFor();

  await page.keyboard.press("/");
  await page.keyboard.type("host-9");
  const options = page.getByRole("option");
  await until(async () => (await options.count()) === 11);
  daemon.change({ members: { set: [member("host-9999")], gone: [] } });
  await options.getByText("host-9999").waitFor();
});

test("times are by the daemon's clock, wherever the reader's is", { skip }, async () => {
  const { page } = await opened({ picture: RICH, hash: "#/hosts" });
  const since = page.getByTestId("hosts").locator("tbody tr").first().locator("time");
  const chart = page.getByRole("region", { name: "Traffic", exact: true });
  for (const awayMs of [-3 * 3_600_000, 3 * 3_600_000]) {
    const atMs = Date.now() + awayMs;
    const set = [member("host-1", { self: true, sinceMs: atMs - 20_000 })];
    daemon.change({ members: { set, gone: [] } });
    daemon.traffic(report(atMs));
    await since.getByText(/^2\d s$/).waitFor();
    daemon.traffic(report(atMs + 1000, { total: rates({ requests: 4321 }) }));
    await page.goto(`${daemon.url}#/`);
    await chart.getByText("4.3k").waitFor();
    await page.goto(`${daemon.url}#/hosts`);
  }
});

test("two hosts with one name are two hosts, each with a page and links of its own", { skip }, async () => {
  const members = [
    member("host-1", { self: true }),
    member("twin"),
    member("twin", { id: "other", zone: "attic" }),
  ];
  daemon.answers.set("/api/v1/members/other", { ...HOST, prefixes: ["192.168.77.0/24"] });
  const { page, complaints } = await opened({ picture: picture({ members }), hash: "#/hosts" });
  const other = { to: "twin (other)", toId: "other" };
  daemon.traffic(
    report(Date.now(), {
      links: [link("host-1", "twin"), link("host-1", "twin", { ...other, state: "broken", rttMs: null })],
    }),
  );
  const row = page.getByTestId("links").getByRole("row", { name: /^host-1/ });
  await row.locator("td[data-state=broken]").waitFor();
  assert.equal(await row.locator("td[data-state=open]").count(), 1);
  await page.getByRole("link", { name: "twin (other)" }).first().click();
  await sees(page, "attic");
  await sees(page, "192.168.77.0/24");
  assert.deepEqual(complaints(), []);
});

test("what a service's page was told stays when the daemon gives no answer", { skip }, async () => {
  daemon.answers.set("/api/v1/services/default/web", web());
  const { page } = await opened({ picture: RICH, hash: "#/services/default/web" });
  const reason = page.getByTestId("replicas").getByText("probe: connection refused");
  await reason.waitFor();
  await page.route("**/api/v1/services/**", (route) => route.abort());
  const failed = page.waitForEvent("requestfailed");
  daemon.change({ services: { set: [], gone: [], touched: ["default/web"] } });
  await failed;
  // Two frames: what came of it is drawn.
  await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
  assert.equal(await reason.count(), 1);
  await page.unroute("**/api/v1/services/**");
  daemon.answers.set("/api/v1/services/default/web", { ...web(), replicas: [replica("web-9")] });
  daemon.change({ services: { set: [], gone: [], touched: ["default/web"] } });
  await page.getByTestId("replicas").getByText("web-9").waitFor();
  daemon.answers.set("/api/v1/services/default/web", web());
});

test("a daemon that goes away greys what was known, and is followed when it is back", { skip }, async () => {
  const { page } = await opened({ picture: RICH, hash: "#/hosts" });
  await page.getByTestId("link").getByText("Live").waitFor();
  await daemon.stop();
  await page.getByTestId("link").getByText("Offline").waitFor();
  const alert = page.getByRole("alert");
  await alert.getByText(/What you see is of \d\d:\d\d:\d\d/).waitFor();
  assert.match(await told(page), /host-3/);
  daemon.picture = picture({ members: [member("host-1", { self: true }), member("host-77")] });
  await daemon.start();
  await page.getByTestId("link").getByText("Live").waitFor();
  await sees(page, "host-77");
  assert.doesNotMatch(await told(page), /host-3/);
  assert.equal(await alert.count(), 0);
});

test("the theme follows the system until somebody chooses, and then is kept", { skip }, async () => {
  const ground = "getComputedStyle(document.documentElement).backgroundColor";
  const { page } = await opened({ picture: picture(), hash: "#/" });
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await page.evaluate(ground);
  await page.getByRole("button", { name: /Colours/ }).click();
  const light = await page.evaluate(ground);
  assert.notEqual(light, dark);
  await page.reload();
  assert.equal(await page.evaluate(ground), light);
  await page.emulateMedia({ colorScheme: "light" });
  await page.evaluate("localStorage.clear()");
});

test("names, labels, reasons and texts with markup in them are shown as they are", { skip }, async () => {
  const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"&`;
  const shown = picture({
    members: [member(evil, { self: true, zone: evil, version: evil }), member("b", { via: evil })],
    services: [service(evil, { network: evil.replace("/", ""), problems: [evil], stack: evil, vip: evil })],
    networks: [network(evil, { problems: [evil] })],
    drains: [drain(evil, { service: `default/${evil}`, pending: [evil], reason: evil, node: evil })],
    events: [event(1, { subject: evil, text: evil, kind: evil })],
    status: status({ warnings: [evil], problems: [{ area: "label", subject: evil, text: evil }] }),
  });
  const net = encodeURIComponent(evil.replace("/", ""));
  const addresses = [
    ...PAGES.map((name) => `#/${name}`),
    `#/hosts/${encodeURIComponent(evil)}`,
    `#/services/${net}/${encodeURIComponent(evil)}`,
  ];
  const { page } = await opened({ picture: shown, hash: "#/" });
  daemon.traffic(
    report(Date.now(), {
      links: linksOf([evil, "b"]),
      services: report(0).services.map((one) => ({ ...one, key: `default/${evil}` })),
    }),
  );
  for (const hash of addresses) {
    await page.goto(`${daemon.url}${hash}`);
    await until(async () => (await page.locator("main").innerHTML()).includes("&lt;img"), { what: hash });
    assert.equal(await page.evaluate("window.pwned"), undefined, hash);
    assert.equal(await page.locator("img, #app script").count(), 0, hash);
  }
  await page.keyboard.press("/");
  await page.keyboard.type("<img");
  await page.getByRole("option").first().waitFor();
  assert.equal(await page.locator("img, #app script").count(), 0);
});

/** What is broken, and where; `rules` null for all of them. */
function axeRun(rules: readonly string[] | null): string {
  // Only what is broken is gathered: the rest costs more than the looking.
  const options = { resultTypes: ["violations"], ...(rules !== null && { runOnly: rules }) };
  const told = `one.id + ": " + one.nodes.map((node) => node.target.join(" ")).slice(0, 3)`;
  return `axe.run(${JSON.stringify(options)}).then((run) => run.violations.map((one) => ${told}))`;
}

interface Look {
  readonly colorScheme: "light" | "dark";
  readonly viewport: { readonly width: number; readonly height: number };
  /** Null for all; what does not depend on colours or width is looked at once. */
  readonly rules: readonly string[] | null;
}

const WIDE = { width: 1280, height: 720 };
const LOOKS: Readonly<Record<string, Look>> = {
  light: { colorScheme: "light", viewport: WIDE, rules: null },
  dark: { colorScheme: "dark", viewport: WIDE, rules: ["color-contrast", "link-in-text-block"] },
  narrow: {
    colorScheme: "light",
    viewport: { width: 360, height: 740 },
    rules: ["color-contrast", "scrollable-region-focusable", "target-size", "aria-hidden-focus"],
  },
};

test(
  "no page breaks a rule of axe in light, dark and narrow, and none scrolls sideways",
  { skip },
  async () => {
    daemon.answers.set("/api/v1/members/id-host-2", HOST);
    daemon.answers.set("/api/v1/networks/app", NETWORK);
    const { page } = await opened({ picture: RICH, hash: "#/" }, pages[1]);
    daemon.traffic(report(Date.now()));
    await page.evaluate(axe);
    const things = ["#/services/default/web", "#/hosts/host-2", "#/networks/app", "#/x"];
    for (const hash of [...PAGES.map((name) => `#/${name}`), ...things]) {
      await page.goto(`${daemon.url}${hash}`);
      for (const [look, { colorScheme, viewport, rules }] of Object.entries(LOOKS)) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize(viewport);
        await until(async () => (await page.locator("main .ghost").count()) === 0, {
          what: `${hash} is loaded`,
        });
        assert.deepEqual(await page.evaluate(axeRun(rules)), [], `${look} ${hash}`);
        const sideways = Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth"));
        assert.ok(sideways <= 0, `${look} ${hash}`);
      }
    }
  },
);
