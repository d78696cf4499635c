// The CLI against a real admin server: what is printed where, in which form, and how it ends.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";

import type { DoctorReport } from "../../src/admin/contract-doctor.ts";
import type { LeaveResult } from "../../src/admin/contract.ts";
import type { DoctorFacts } from "../../src/admin/doctor.ts";
import { Failure } from "../../src/base/failure.ts";
import { runCli } from "../../src/cli/cli.ts";
import type { ConfigFlags, RunDaemon, Surroundings } from "../../src/cli/context.ts";
import { JOIN_TOKEN, openDoors, type Doors } from "../admin/doors.ts";
import { NOTHING } from "../admin/facts.ts";
import {
  event,
  exampleSnapshot,
  member,
  NOW_MS,
  OTHER,
  SELF,
  service,
  snapshot,
  view,
} from "../admin/picture.ts";
import { until } from "../support/wait.ts";
import { Paper, run, surroundings, type Ran } from "./terminal.ts";

const GOLDEN = join(import.meta.dirname, "../golden/cli");

async function exampleDoors(t: TestContext): Promise<Doors> {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  doors.daemon.resolved = (name, type, as) => {
    const found = { name, type, as: as ?? "this host" };
    if (name !== "tasks.web") return { ...found, rcode: "NXDOMAIN", answers: [] };
    const answers = ["172.18.0.2", "10.0.0.9"].map((data) => ({ type: "A", ttl: 5, data }));
    return { ...found, rcode: "NOERROR", answers };
  };
  doors.daemon.facts = EXAMPLE_FACTS;
  return doors;
}

/** A host on which everything works but what a container was told, and a gateway that another program has. */
const EXAMPLE_FACTS: DoctorFacts = {
  ...NOTHING,
  holderByPlace: new Map([["172.19.0.1:53", "dnsmasq (process 812)"]]),
  dnsPlaces: ["127.0.0.1:5300", "172.17.0.1:53", "172.18.0.1:53"],
  gateways: ["172.17.0.1", "172.18.0.1", "172.19.0.1"],
  upstreams: [
    { address: "192.0.2.53:53", state: "alive" },
    { address: "192.0.2.54:53", state: "silent" },
    { address: "192.0.2.55:53", state: "unknown" },
  ],
  containers: [
    askingContainer("shop-db-1", { servers: [{ address: "8.8.8.8", fromHost: false }] }),
    askingContainer("shop-queue-1", { isolated: true }),
    askingContainer("shop-web-1", {}),
    askingContainer("shop-web-2", { askedAgoMs: 42_000 }),
  ],
  peers: [
    {
      name: "host-2",
      state: "alive",
      address: "192.0.2.2:7650",
      version: "0.0.9",
      via: null,
      there: { kind: "reached" },
      back: {
        kind: "failed",
        address: "192.0.2.1:7650",
        reason: "192.0.2.1:7650 took no connection in 1000 ms",
      },
      clock: { aheadMs: -4100, errorMs: 1 },
    },
  ],
};

function askingContainer(
  name: string,
  over: Partial<DoctorFacts["containers"][number]>,
): DoctorFacts["containers"][number] {
  return {
    name,
    addresses: [{ address: "172.18.0.5", sinceMs: 0 }],
    gateways: ["172.18.0.1"],
    stack: "own",
    isolated: false,
    embedded: true,
    servers: [{ address: "172.18.0.1", fromHost: false }],
    askedAgoMs: null,
    ...over,
  };
}

function at(doors: Doors, line: string, given: Partial<Surroundings> = {}): Promise<Ran> {
  return run([...line.split(" "), "--socket", doors.socketPath], given);
}

/** Compares with a golden file, or rewrites it with UPDATE_GOLDEN=1. */
function assertGolden(name: string, text: string): void {
  const path = join(GOLDEN, `${name}.txt`);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  assert.equal(text, readFileSync(path, "utf8"));
}

const TERMINAL = { isTty: true, columns: 80, env: { TERM: "xterm" } };

const GOLDEN_RUNS: readonly (readonly [string, string, Partial<Surroundings>?])[] = [
  ["status", "status"],
  ["node-ls", "node ls"],
  ["node-ls-wide", "node ls -o wide --no-trunc"],
  ["node-ls-json", "node ls -o json"],
  ["node-ls-terminal", "node ls", TERMINAL],
  ["node-inspect", "node inspect host-2"],
  ["node-inspect-json", "node inspect host-2 -o json"],
  ["service-ls", "service ls"],
  ["service-ls-wide", "service ls -o wide"],
  ["service-ls-json", "service ls -o json"],
  ["service-inspect", "service inspect web"],
  ["explain", "explain web"],
  ["explain-wide", "explain web -o wide"],
  ["explain-json", "explain web -o json"],
  ["explain-terminal", "explain web", TERMINAL],
  ["explain-dnsrr", "explain back/db"],
  ["resolve", "resolve tasks.web"],
  ["resolve-json", "resolve tasks.web -o json"],
  ["events", "events"],
  ["drain", "drain web-1"],
  ["token", "token worker"],
  ["token-json", "token manager --rotate -o json"],
  ["version", "version"],
];

for (const [name, line, given] of GOLDEN_RUNS) {
  test(`cli: skein ${line} prints golden/cli/${name}.txt and ends well`, async (t) => {
    const { status, out } = await at(await exampleDoors(t), line, given);
    assert.equal(status, 0);
    assertGolden(name, out);
  });
}

const HELPED = [
  "",
  "run",
  "init",
  "join",
  "leave",
  "token",
  "token worker",
  "authority backup",
  "completion",
  "config print",
  "doctor",
  "drain",
  "events",
  "explain",
  "node ls",
  "node drain",
  "node rm",
  "resolve",
];

for (const line of HELPED) {
  test(`cli: skein ${line} --help prints its golden text on stdout`, async () => {
    const { status, out, err } = await run([...line.split(" ").filter((part) => part !== ""), "--help"]);
    assert.deepEqual([status, err], [0, ""]);
    assertGolden(`help-${line === "" ? "all" : line.replace(" ", "-")}`, out);
  });
}

test("cli: resolve asks whose an address is, and tells why where the answer does not", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.resolved = (name, type) => {
    return { name, type, rcode: "NXDOMAIN", answers: [], as: "this host", note: "several have it" };
  };
  const { out } = await at(doors, "resolve both");
  assert.equal(out, "both A: NXDOMAIN, to this host (several have it)\n");
  assert.match((await at(doors, "resolve 10.96.0.9")).out, /^10\.96\.0\.9 PTR: /);
  assert.match((await at(doors, "resolve fd00::1")).out, /^fd00::1 PTR: /);
  assert.match((await at(doors, "resolve 10.96.0.9 TXT")).out, /^10\.96\.0\.9 TXT: /);
});

test("cli: --quiet prints names alone, one a line", async (t) => {
  const doors = await exampleDoors(t);
  const names = {
    "node ls": "host-1\nhost-2\nhost-3\n",
    "service ls": "back/db\ndefault/web\ndefault/日志\n",
    "explain web": "0123456789ab\n22bb33cc44dd\n",
    "resolve tasks.web": "172.18.0.2\n10.0.0.9\n",
    "drain web-1": "0123456789ab\n",
    "token worker": `${JOIN_TOKEN}\n`,
    "node rm host-2": "host-2\n",
    version: "0.1.0\n",
  };
  for (const [line, expected] of Object.entries(names)) {
    const { status, out, err } = await at(doors, `${line} -q`);
    assert.deepEqual([status, out, err], [0, expected, ""], line);
  }
});

test("cli: -o yaml goes through the renderer that main gives", async (t) => {
  const { out } = await at(await exampleDoors(t), "resolve tasks.web -o yaml");
  assert.match(out, /^yaml: \{"name":"tasks.web"/);
});

test("cli: the shared options stand before or behind the command", async (t) => {
  const { socketPath } = await exampleDoors(t);
  const before = await run(["--socket", socketPath, "-o", "json", "node", "ls"]);
  const behind = await run(["node", "ls", "-o", "json", "--socket", socketPath]);
  const byVariable = await run(["node", "ls", "-o", "json"], { env: { SKEIN_ADMIN_SOCKET: socketPath } });
  assert.equal(before.out, behind.out);
  assert.equal(before.out, byVariable.out);
  assert.equal((JSON.parse(before.out) as unknown[]).length, 3);
});

test("cli: colours only on a terminal, without NO_COLOR, that is not dumb", async (t) => {
  const doors = await exampleDoors(t);
  const colored = async (given: Partial<Surroundings>): Promise<boolean> =>
    (await at(doors, "node ls", given)).out.includes("\u001B[");
  assert.equal(await colored({ isTty: true, env: { TERM: "xterm" } }), true);
  assert.equal(await colored({ isTty: true, env: { NO_COLOR: "" } }), true);
  assert.equal(await colored({ isTty: true, env: { NO_COLOR: "1" } }), false);
  assert.equal(await colored({ isTty: true, env: { TERM: "dumb" } }), false);
  assert.equal(await colored({ isTty: false }), false);
});

test("cli: control characters of names and messages are escaped in every format", async (t) => {
  const doors = await openDoors(t);
  const evil = "evil\u001B[2J\u009B31m\u202E\r";
  const named = service("default", evil, { problems: [evil], stack: evil });
  doors.daemon.snapshot = { ...doors.daemon.snapshot, view: view({ services: [named] }), warnings: [evil] };
  doors.daemon.snapshot = { ...doors.daemon.snapshot, events: [event(1, { text: evil, subject: evil })] };
  const renderYaml = (value: unknown): string => `${JSON.stringify(value)}${evil}\n`;
  for (const line of ["service ls", "status", "events"]) {
    for (const format of ["table", "wide", "json", "yaml"]) {
      const { out, err } = await at(doors, `${line} -o ${format}`, { renderYaml });
      // oxlint-disable-next-line no-control-regex -- matching them is the point
      assert.doesNotMatch(out + err, /[\u001B\u009B\u202E\r]/, `${line} ${format}`);
    }
    // oxlint-disable-next-line no-control-regex -- matching them is the point
    assert.doesNotMatch((await at(doors, `${line} -q`)).out, /[\u001B\u009B\u202E\r]/);
  }
  const { err } = await at(doors, `explain ${evil}x`);
  // oxlint-disable-next-line no-control-regex -- matching them is the point
  assert.doesNotMatch(err, /[\u001B\u009B\u202E\r]/);
});

/** Arguments, exit status, and what stderr must say. */
const BAD_RUNS: readonly (readonly [string, number, RegExp])[] = [
  ["", 2, /Usage: skein/],
  ["stauts", 2, /unknown command 'stauts'.*\n.*Did you mean status\?/],
  ["doctor extra", 2, /too many arguments/],
  ["node", 2, /Usage: skein node/],
  ["node lss", 2, /Did you mean ls\?/],
  ["node ls extra", 2, /too many arguments/],
  ["status -o xml", 2, /Allowed choices are table, wide, json, yaml/],
  ["status --jsno", 2, /unknown option '--jsno'/],
  ["status -o", 2, /argument missing/],
  ["run --mesh.jion a:7650", 2, /Did you mean --mesh\.join\?/],
  ["run extra", 2, /too many arguments/],
  ["explain", 2, /missing required argument 'service'/],
  ["explain a b", 2, /too many arguments/],
  ["explain wbe", 3, /skein: no service "wbe"; did you mean "web"\?/],
  ["service inspect nope", 3, /no service "nope"/],
  ["explain web --network back", 3, /no service "web"/],
  ["resolve nope", 3, /^$/],
  ["resolve web A;B", 2, /type is "A;B"/],
  ["join", 2, /missing required argument 'host'/],
  ["join host-2", 2, /no token; expected --token-file FILE, or --token -/],
  ["join host-2 --token x --token-file y", 2, /two tokens/],
  ["token owner", 2, /unknown command 'owner'/],
  ["token", 2, /Usage: skein token/],
  ["authority backup /nowhere/x", 2, /no passphrase; expected --passphrase-file FILE/],
  ["node rm nope", 3, /no member "nope"/],
  ["leave --socket /nowhere/x.sock", 4, /skein run/],
  ["token worker --socket /nowhere/x.sock", 4, /skein run/],
  ["drain nope", 3, /no replica "nope"/],
  ["node inspect nope", 3, /no member "nope"/],
  ["status --socket /nowhere/x.sock", 4, /"\/nowhere\/x\.sock".*skein run/],
  ["events -f --socket /nowhere/x.sock", 4, /skein run/],
];

for (const [line, status, message] of BAD_RUNS) {
  test(`cli: skein ${line} ends with ${status}`, async (t) => {
    const doors = await exampleDoors(t);
    const argv = line.split(" ").filter((part) => part !== "");
    const ran = await run(argv, { env: { SKEIN_ADMIN_SOCKET: doors.socketPath } });
    assert.equal(ran.status, status, ran.err);
    assert.match(ran.err, message);
    if (status === 2 || status === 4) assert.equal(ran.out, "");
  });
}

for (const [name, line, given] of [
  ["doctor", "doctor"],
  ["doctor-json", "doctor -o json"],
  ["doctor-wide", "doctor -o wide"],
  ["doctor-terminal", "doctor", TERMINAL],
] as const) {
  test(`cli: skein ${line} prints golden/cli/${name}.txt and ends with 1, for a source is stale`, async (t) => {
    const { status, out } = await at(await exampleDoors(t), line, given);
    assert.equal(status, 1);
    assertGolden(name, out);
  });
}

test("cli: doctor ends with 0 as long as it only warns, and -q names what fails", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.snapshot = snapshot();
  doors.daemon.facts = { ...EXAMPLE_FACTS, peers: [] };
  assert.deepEqual([(await at(doors, "doctor")).status, (await at(doors, "doctor -q")).out], [0, ""]);
  doors.daemon.facts = { ...EXAMPLE_FACTS, peers: [], dnsPlaces: ["127.0.0.1:5300"] };
  const { status, out, err } = await at(doors, "doctor -q");
  assert.deepEqual([status, out, err], [1, "container/shop-web-1\n", ""]);
});

test("cli: doctor --area shows and counts only checks of these areas, in every format", async (t) => {
  const doors = await exampleDoors(t);
  const areas = async (line: string): Promise<readonly string[]> => {
    const { checks } = JSON.parse((await at(doors, `${line} -o json`)).out) as DoctorReport;
    return [...new Set(checks.map(({ area }) => area))];
  };
  assert.deepEqual(await areas("doctor --area clock peer"), ["peer", "clock"]);
  assert.deepEqual(await areas("doctor --area clock --area vip"), ["vip", "clock"]);
  assert.equal((await at(doors, "doctor --area peer")).status, 1, "host-2 does not reach this host");
  assert.equal((await at(doors, "doctor --area clock")).status, 0);
  assert.equal((await at(doors, "doctor --area peer -q")).out, "peer/host-2\n");
  const wrong = await at(doors, "doctor --area clocks");
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /'clocks' is invalid/);
});

test("cli: what the daemon does not allow ends with 5, its own bug with 1", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.drainResult = () => Promise.reject(new Failure("not-allowed", "replica runs on host-2"));
  assert.equal((await at(doors, "drain web-1")).status, 5);
  doors.daemon.drainResult = () => Promise.reject(new Error("bug"));
  assert.equal((await at(doors, "drain web-1")).status, 1);
});

test("cli: a member whose link is broken, or that settles, is marked in the list and explained", async (t) => {
  const doors = await openDoors(t);
  const other = member({ id: OTHER, name: "host-2", self: false, via: SELF });
  const third = member({ id: "c".repeat(20), name: "host-3", self: false, settlesAtMs: NOW_MS + 12_000 });
  const members = [member(), other, third];
  doors.daemon.snapshot = snapshot({ view: view({ members }) });
  const { out } = await at(doors, "node ls");
  assert.match(out, /^host-2 .* alive, via host-1 /m);
  assert.match(out, /^host-3 .* alive, settling /m);
  assert.match((await at(doors, "node inspect host-2")).out, /^link +broken: reached via host-1$/m);
  assert.match((await at(doors, "node inspect host-3")).out, /^settling +came and went.* for 12s$/m);
  assert.match((await at(doors, "status")).out, /link to host-2 is broken: reached via host-1/);
});

/** A daemon that ends when it is asked to leave, as one without a supervisor does. */
function endsOnLeave(doors: Doors, result: Partial<LeaveResult> = {}): void {
  doors.daemon.leaveResult = () => {
    setImmediate(() => void doors.admin.close());
    return Promise.resolve({ node: "host-1", farewell: "left", pending: [], ...result });
  };
}

test("cli: leave does not wait for the end of a daemon whose container it runs in", async (t) => {
  const { status, out, err } = await at(await exampleDoors(t), "leave", { endsWithDaemon: () => true });
  assert.deepEqual([status, err], [0, ""]);
  assert.match(out, /^host-1 has left the cluster for good, its daemon ends, and this container with it$/m);
});

test("cli: leave ends well when the daemon has", async (t) => {
  const doors = await exampleDoors(t);
  endsOnLeave(doors);
  const { status, out, err } = await at(doors, "leave");
  assert.deepEqual([status, err], [0, "host-1 has said farewell; waiting for its daemon to end\n"]);
  assert.equal(out, "host-1 has left the cluster for good, its daemon has ended\n");
  assert.equal((await at(doors, "leave")).status, 4, "there is nobody to ask any more");
});

test("cli: leave names those who had not heard of it, and says when it was but a restart", async (t) => {
  const doors = await exampleDoors(t);
  endsOnLeave(doors, { pending: ["host-2", "host-3"] });
  const unheard = await at(doors, "leave -q");
  assert.deepEqual([unheard.status, unheard.out], [0, "host-1\n"]);
  assert.match(unheard.err, /^skein: it went before these had heard .*: host-2, host-3\n$/);
  const stopping = await exampleDoors(t);
  endsOnLeave(stopping, { farewell: "away" });
  const { status, out } = await at(stopping, "leave -o json");
  assert.deepEqual([status, (JSON.parse(out) as LeaveResult).farewell], [1, "away"]);
});

test("cli: leave of a daemon that its supervisor starts again ends with 1, of one that lingers with 4", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.leaveResult = () => {
    const { snapshot: was } = doors.daemon;
    doors.daemon.snapshot = { ...was, startedAtMs: was.startedAtMs + 90_000 };
    return Promise.resolve({ node: "host-1", farewell: "left", pending: [] });
  };
  const again = await at(doors, "leave");
  assert.equal(again.status, 1);
  assert.match(again.err, /started again, as a new node/);
  const slow = await exampleDoors(t);
  let now = NOW_MS;
  const late = await at(slow, "leave", { nowMs: () => (now += 5000) });
  assert.equal(late.status, 4);
  assert.match(late.err, /has not ended within 15 s/);
});

test("cli: drain --undo takes a drain back", async (t) => {
  const doors = await exampleDoors(t);
  const { status, out } = await at(doors, "drain web-1 --undo");
  assert.equal(status, 0);
  assert.match(out, /is not drained any more/);
  assert.deepEqual([doors.daemon.drains.length, doors.daemon.undrained.length], [0, 1]);
});

test("cli: events tell by colour what became of members and links, and of the rest whether it warns", async (t) => {
  const doors = await openDoors(t);
  const events = [
    event(1, { kind: "member.alive" }),
    event(2, { kind: "member.dead", level: "warn" }),
    event(3, { kind: "member.away" }),
    event(4, { kind: "link.lost" }),
    event(5, { kind: "vip.conflict", level: "warn" }),
    event(6, { kind: "vip.assigned" }),
  ];
  doors.daemon.snapshot = snapshot({ events });
  const { out } = await at(doors, "events", TERMINAL);
  const lines = out.replaceAll("\u001B", "ESC").split("\n");
  const codes = lines.map((line) => / {2}ESC\[(\d+)m/.exec(line)?.[1] ?? null);
  assert.deepEqual(codes, ["32", "31", "33", "33", "33", null, null]);
});

test("cli: events -f prints what happens line by line until it is interrupted", async (t) => {
  const doors = await exampleDoors(t);
  const controller = new AbortController();
  const stdout = new Paper();
  const argv = ["events", "-f", "-o", "json", "--socket", doors.socketPath];
  const running = runCli(argv, surroundings({ stdout, interrupted: controller.signal }));
  const ids = (): readonly number[] =>
    stdout.text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { id: number }).id);
  await until(() => ids().length === 3);
  doors.daemon.emit(event(4));
  await until(() => ids().length === 4);
  assert.deepEqual(ids(), [1, 2, 3, 4]);
  controller.abort();
  assert.equal(await running, 0);
});

test("cli: events -f comes back after a restart of the daemon, without loss or repetition", async (t) => {
  const first = await exampleDoors(t);
  const controller = new AbortController();
  const [stdout, stderr] = [new Paper(), new Paper()];
  const given = surroundings({ stdout, stderr, interrupted: controller.signal });
  const running = runCli(["events", "-f", "-q", "--socket", first.socketPath], given);
  await until(() => stdout.text.split("\n").length === 4);
  await first.admin.close();
  const second = await openDoors(t, { socket: first.socketPath });
  const events = [...exampleSnapshot().events, event(4, { text: "while away" })];
  second.daemon.snapshot = { ...second.daemon.snapshot, events };
  await until(() => stdout.text.includes("while away"));
  assert.equal(stdout.text.split("\n").length, 5);
  controller.abort();
  assert.equal(await running, 0);
});

test("cli: events -f ends well when nobody reads its output any more", async (t) => {
  const doors = await exampleDoors(t);
  const stdout = new Paper();
  stdout._write = (_chunk, _encoding, done) =>
    done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  const status = await runCli(["events", "-f", "--socket", doors.socketPath], surroundings({ stdout }));
  assert.equal(status, 0);
});

test("cli: run gives the daemon its flags and takes over its exit status", async () => {
  const seen: ConfigFlags[] = [];
  const runDaemon = (flags: ConfigFlags): Promise<number> => {
    seen.push(flags);
    return Promise.resolve(4);
  };
  const line = "run --config c.yaml --data-dir /d --mesh.join a:1,b:2 --log.level debug --socket /s";
  const { status } = await run(line.split(" "), { runDaemon });
  assert.equal(status, 4);
  const values = {
    "mesh.join": "a:1,b:2",
    "log.level": "debug",
    "node.dataDir": "/d",
    "admin.socket": "/s",
  };
  assert.deepEqual(seen, [{ file: "c.yaml", values }]);
  assert.equal((await run(["run"], { runDaemon })).status, 4);
  assert.deepEqual(seen[1], { file: null, values: {} });
});

test("cli: run tells the daemon whether it takes over, and whether it leaves the kernel as it was", async () => {
  const seen: RunDaemon[] = [];
  const runDaemon = (_flags: ConfigFlags, how: RunDaemon): Promise<number> => {
    seen.push(how);
    return Promise.resolve(0);
  };
  for (const line of ["run", "run --replace", "run --purge"]) await run(line.split(" "), { runDaemon });
  assert.deepEqual(seen, [
    { replaces: false, purges: false },
    { replaces: true, purges: false },
    { replaces: false, purges: true },
  ]);
});

test("cli: a daemon that cannot start ends with the status of its failure", async () => {
  const runDaemon = (): Promise<number> => Promise.reject(new Failure("not-allowed", "port 80 needs root"));
  const { status, err } = await run(["run"], { runDaemon });
  assert.deepEqual([status, err], [5, "skein: port 80 needs root\n"]);
});

test("cli: config check says ok, or tells each mistake on its line", async () => {
  const good = await run(["config", "check", "a.yaml"]);
  assert.deepEqual([good.status, good.out], [0, "a.yaml: ok\n"]);
  const checkConfig = (): void => {
    throw new Failure("invalid", "line 3: dns.ttl is 5; expected 5s\nline 4: \u001B[2J");
  };
  const bad = await run(["config", "check", "a.yaml"], { checkConfig });
  assert.deepEqual([bad.status, bad.err], [1, ""]);
  assert.equal(bad.out, "line 3: dns.ttl is 5; expected 5s\nline 4: \\u001b[2J\n");
  const json = await run(["config", "check", "a.yaml", "-o", "json"], { checkConfig });
  assert.equal((JSON.parse(json.out) as { ok: boolean }).ok, false);
});

test("cli: config check of a file that is not there is not found", async () => {
  const checkConfig = (): void => {
    throw new Failure("not-found", "config a.yaml does not exist");
  };
  assert.equal((await run(["config", "check", "a.yaml"], { checkConfig })).status, 3);
});

test("cli: config print is YAML unless JSON is asked for, and takes the flags of run", async () => {
  const yaml = await run(["config", "print", "--log.level", "warn"]);
  assert.deepEqual([yaml.status, yaml.out], [0, 'yaml: {"given":{"log.level":"warn"}}\n']);
  const json = await run(["config", "print", "-o", "json"]);
  assert.deepEqual(JSON.parse(json.out), { given: {} });
});

test("cli: version answers without a daemon, --version with the number alone", async () => {
  const { status, out } = await run(["version", "--socket", "/nowhere/x.sock"]);
  assert.deepEqual([status, out], [0, "skein    0.1.0\nnode     v24.0.0\ndaemon   does not answer\n"]);
  const flag = await run(["--version"]);
  assert.deepEqual([flag.status, flag.out], [0, "0.1.0\n"]);
});
