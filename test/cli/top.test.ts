// `skein top`: once, row after row, as JSON lines, and on a terminal whose size changes.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { Rates, TrafficReport } from "../../src/admin/contract-live.ts";
import type { Surroundings } from "../../src/cli/context.ts";
import type { Terminal } from "../../src/cli/screen.ts";
import { runCli } from "../../src/cli/cli.ts";
import { Failure } from "../../src/base/failure.ts";
import { NO_RATES } from "../../src/admin/rates.ts";

import { openDoors, type Doors } from "../admin/doors.ts";
import { NOW_MS } from "../admin/picture.ts";
import { until } from "../support/wait.ts";
import { Paper, run, surroundings } from "./terminal.ts";

const ENTER = "\u001B[?1049h";
const LEAVE = "\u001B[?1049l";

function rates(changes: Partial<Rates>): Rates {
  return { ...NO_RATES, ...changes };
}

const REPORT: TrafficReport = {
  atMs: NOW_MS,
  windowMs: 1000,
  scope: "cluster",
  hosts: ["host-1", "host-2"],
  silent: ["host-3"],
  total: rates({ requests: 1234, connections: 12, errors: 0.5, sentBytes: 3_500_000, open: 7 }),
  latencyMs: { p50: 0.42, p95: 12, p99: 1250 },
  dns: {
    queries: 30,
    byCode: { NXDOMAIN: 10, NOERROR: 20 },
    bySource: { zone: 30 },
    latencyMs: { p50: 0.1, p95: 0.2, p99: 0.3 },
  },
  services: [
    {
      key: "default/web",
      rates: rates({ requests: 1200, errors: 0.5, retries: 2, sentBytes: 3_400_000, open: 5 }),
      latencyMs: { p50: 0.42, p95: 12, p99: 1250 },
      ejected: 1,
    },
    {
      key: "shop/a-service-with-a-rather-long-name-that-does-not-fit-anywhere",
      rates: rates({ connections: 12, kernelConnections: 9, receivedBytes: 900, open: 2 }),
      latencyMs: null,
      ejected: 0,
    },
  ],
  replicas: [
    {
      id: "0123456789ab",
      service: "default/web",
      name: "web-1\u001B[2J",
      node: "host-2",
      rates: rates({ requests: 1200, sentBytes: 3_400_000, open: 5 }),
    },
  ],
  links: [],
};

async function doorsOf(t: TestContext): Promise<Doors> {
  const doors = await openDoors(t);
  doors.daemon.traffic = (scope) => Promise.resolve({ ...REPORT, scope });
  return doors;
}

/** A run that goes on until it is interrupted. */
function begin(
  { socketPath }: Doors,
  line: string,
  given: Partial<Surroundings> = {},
): { readonly out: Paper; readonly err: Paper; readonly end: () => Promise<number> } {
  const [out, err, interrupt] = [new Paper(), new Paper(), new AbortController()];
  const ended = runCli(
    ["--socket", socketPath, ...line.split(" ")],
    surroundings({ stdout: out, stderr: err, interrupted: interrupt.signal, ...given }),
  );
  return {
    out,
    err,
    end() {
      interrupt.abort();
      return ended;
    },
  };
}

function terminalOf(size: { columns: number; rows: number }): Terminal & { resized: () => void } {
  const listeners = new Set<() => void>();
  return {
    size: () => size,
    onResized(resized) {
      listeners.add(resized);
      return () => listeners.delete(resized);
    },
    onLeft: () => () => null,
    resized: () => {
      for (const listener of listeners) listener();
    },
  };
}

test("top: --once prints totals, names, silent hosts and each service, and ends", async (t) => {
  const { socketPath } = await doorsOf(t);
  const { status, out, err } = await run(["--socket", socketPath, "top", "--once"]);
  assert.deepEqual([status, err], [0, ""]);
  assert.match(
    out,
    /^traffic +2 hosts {2}1\.2k req\/s {2}12 conn\/s {2}0\.5 err\/s {2}p50 0\.42ms {2}p99 1\.3s$/m,
  );
  assert.match(out, /^bytes +in 0\/s {2}out 3\.3M\/s {2}open 7$/m);
  assert.match(out, /^dns +30 queries\/s {2}NOERROR 20 {2}NXDOMAIN 10$/m);
  assert.match(out, /^silent +host-3$/m);
  assert.match(out, /^default\/web +1\.2k +0 +0\.5 +0\.42ms +1\.3s +0 +3\.2M +5$/m);
});

test("top: --replicas has a row for each, and no name can move the cursor", async (t) => {
  const { socketPath } = await doorsOf(t);
  const { out } = await run(["--socket", socketPath, "top", "--once", "--replicas"]);
  assert.match(out, /^web-1\\u001b\[2J +host-2 +1\.2k/m);
  assert.ok(!out.includes("\u001B"));
});

test("top: rows are in the order that is asked for", async (t) => {
  const { socketPath } = await doorsOf(t);
  const firstBy = async (sort: string): Promise<string> => {
    const { out } = await run(["--socket", socketPath, "top", "--once", "--quiet", "--sort", sort]);
    return out.split("\n")[0] ?? "";
  };
  assert.equal(await firstBy("requests"), "default/web");
  assert.match(await firstBy("connections"), /^shop\//);
  assert.equal(await firstBy("latency"), "default/web");
  assert.equal(await firstBy("name"), "default/web");
});

test("top: what it cannot sort by, and a scope that there is not, are told with what there is", async () => {
  for (const [line, expected] of [
    ["top --sort size", /Allowed choices are traffic, requests/],
    ["top --scope world", /Allowed choices are host, cluster/],
  ] as const) {
    const { status, err } = await run(line.split(" "));
    assert.equal(status, 2);
    assert.match(err, expected);
  }
});

test("top: -o json is one report a line until it is interrupted, which is no failure", async (t) => {
  const running = begin(await doorsOf(t), "top -o json --scope host");
  await until(() => running.out.text.split("\n").length > 2);
  assert.equal(await running.end(), 0);
  const reports = running.out.text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as TrafficReport);
  assert.ok(reports.length >= 2);
  assert.ok(reports.every(({ scope, total }) => scope === "host" && total.requests === 1234));
});

test("top: piped it prints row after row, each with its time, and nothing moves a cursor", async (t) => {
  const running = begin(await doorsOf(t), "top");
  await until(() => running.out.text.split(" total ").length > 2);
  assert.equal(await running.end(), 0);
  const [head, first = "", second = ""] = running.out.text.split("\n");
  assert.match(head ?? "", /^TIME +SERVICE +REQ\/S/);
  assert.match(first, /^03:00:00 {2}total +1\.2k +12/);
  assert.match(second, /^03:00:00 {2}default\/web +1\.2k/);
  assert.ok(!running.out.text.includes("\u001B"));
});

test("top: on a terminal it draws on a screen of its own, as wide as that is, and gives it back", async (t) => {
  const size = { columns: 80, rows: 10 };
  const terminal = terminalOf(size);
  const env = { TERM: "xterm", NO_COLOR: "1" };
  const running = begin(await doorsOf(t), "top", { terminal, isTty: true, columns: 80, env });
  await until(() => running.out.text.includes("default/web"));
  const drawn = linesOf(running.out.text);
  assert.ok(drawn.every((line) => line.length <= 80));
  assert.ok(drawn.some((line) => line.includes("…")));
  running.out.text = "";
  size.columns = 200;
  terminal.resized();
  assert.ok(linesOf(running.out.text).some((line) => line.includes("fit-anywhere")));
  running.out.text = "";
  size.rows = 4;
  terminal.resized();
  assert.ok(linesOf(running.out.text).length <= 4, "no more lines than there are");
  assert.equal(await running.end(), 0);
  assert.ok(running.out.text.endsWith(`\u001B[?25h${LEAVE}`));
  assert.ok(!running.out.text.includes(ENTER));
});

/** The lines of what was drawn last. */
function linesOf(text: string): readonly string[] {
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  return (text.split("\u001B[H").at(-1) ?? "").replaceAll(/\u001B\[[?0-9]*[a-zA-Z]/g, "").split("\n");
}

test("top: a daemon that does not answer for a moment is waited for, and said to be missing", async (t) => {
  const doors = await doorsOf(t);
  const running = begin(doors, "top");
  await until(() => running.out.text.includes("default/web"));
  doors.daemon.traffic = () => Promise.reject(new Failure("unreachable", "restarting"));
  await until(() => running.err.text.includes("the daemon does not answer; trying again"));
  doors.daemon.traffic = (scope) => Promise.resolve({ ...REPORT, scope });
  const before = running.out.text.length;
  await until(() => running.out.text.length > before);
  assert.equal(await running.end(), 0);
});

test("top: on a terminal a daemon that does not answer is said to be missing, until it answers", async (t) => {
  const doors = await doorsOf(t);
  const terminal = terminalOf({ columns: 80, rows: 24 });
  const env = { TERM: "xterm", NO_COLOR: "1" };
  const running = begin(doors, "top", { terminal, isTty: true, columns: 80, env });
  const stale = "the daemon does not answer; trying again";
  const first = (): string => linesOf(running.out.text)[0] ?? "";
  await until(() => first().startsWith("traffic"));
  doors.daemon.traffic = () => Promise.reject(new Failure("unreachable", "restarting"));
  await until(() => first() === stale);
  assert.ok(
    linesOf(running.out.text).some((line) => line.startsWith("default/web")),
    "the last picture stays",
  );
  doors.daemon.traffic = (scope) => Promise.resolve({ ...REPORT, scope });
  await until(() => first().startsWith("traffic"));
  assert.deepEqual([await running.end(), running.err.text], [0, ""]);
});

test("top: it ends well when nobody reads its output any more, and by name when it cannot be written", async (t) => {
  const { socketPath } = await doorsOf(t);
  for (const [code, status, told] of [
    ["EPIPE", 0, ""],
    ["ENOSPC", 1, "skein: standard output cannot be written: its disk is full\n"],
  ] as const) {
    for (const line of ["top", "top --once"]) {
      const [stdout, stderr] = [new Paper(), new Paper()];
      stdout._write = (_chunk, _encoding, done) => done(Object.assign(new Error(`write ${code}`), { code }));
      const argv = [...line.split(" "), "--socket", socketPath];
      assert.equal(await runCli(argv, surroundings({ stdout, stderr })), status, line);
      assert.equal(stderr.text, told, line);
    }
  }
});

test("top: without a daemon it says so at once, and takes no screen", async () => {
  const [out, err] = [new Paper(), new Paper()];
  const given = { stdout: out, stderr: err, terminal: terminalOf({ columns: 80, rows: 24 }), isTty: true };
  const status = await runCli(["--socket", "/nonexistent/skein.sock", "top"], surroundings(given));
  assert.deepEqual([status, out.text], [4, ""]);
  assert.match(err.text, /^skein: socket "\/nonexistent\/skein.sock" does not exist/);
});
