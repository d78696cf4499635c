// Every command given a wrong name, host, token, file or right: it ends with the right status, and its message names
// the thing and the next step. A command without the rows that its arguments ask for fails the test.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { Failure } from "../../src/base/failure.ts";
import { parsePrefix } from "../../src/base/ip.ts";
import { programOf } from "../../src/cli/cli.ts";
import { placesOf, type Place, type Value } from "../../src/cli/completion/tree.ts";
import { readSecretFile } from "../../src/config/secret-file.ts";
import { checkConfig, initCluster, joinCluster, printConfig, runDaemon } from "../../src/daemon/command.ts";
import type { ResolveReport } from "../../src/admin/contract.ts";
import { folder, openDoors } from "../admin/doors.ts";
import { planNetwork, type NetworkWish } from "../../src/trust/network-plan.ts";
import { CLUSTER, exampleSnapshot } from "../admin/picture.ts";
import { run, surroundings, type Ran } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** What can be wrong. */
type Wrong = "name" | "text" | "host" | "token" | "file";

/** A line, what is wrong in it, the status it ends with, and what its message says. `FILES` is a folder. */
type Row = readonly [line: string, wrong: Wrong, status: number, thing: RegExp, step: RegExp];

const NEAR = /did you mean "/;

const ROWS: readonly Row[] = [
  ["node inspect host-22", "name", 3, /member "host-22"/, NEAR],
  ["node inspect nope", "name", 3, /member "nope"/, /skein node ls/],
  ["node drain host-22", "name", 3, /member "host-22"/, NEAR],
  ["node activate host-22", "name", 3, /member "host-22"/, NEAR],
  ["node rm host-22", "name", 3, /member "host-22"/, NEAR],
  ["service inspect wbe", "name", 3, /service "wbe"/, NEAR],
  ["service inspect web --network nope", "name", 3, /network "nope"/, /skein service ls/],
  ["service ls --network bak", "name", 3, /network "bak"/, NEAR],
  ["explain wbe", "name", 3, /service "wbe"/, NEAR],
  ["explain nosuchthing", "name", 3, /service "nosuchthing"/, /skein service ls/],
  ["resolve nosuch", "name", 3, /nosuch A: NXDOMAIN/, /NXDOMAIN/],
  ["drain web-9", "name", 3, /replica "web-9"/, NEAR],
  ["drain nosuchthing", "name", 3, /replica "nosuchthing"/, /skein explain/],
  ["network inspect bak", "name", 3, /network "bak"/, NEAR],
  ["network rm bak", "name", 3, /network "bak"/, NEAR],
  ["completion names nope", "name", 2, /'nope' is invalid/, /Allowed choices are service/],

  ["explain web --network nope", "name", 3, /network "nope"/, /skein service ls/],
  ["resolve web --as nobody", "name", 3, /container "nobody"/, /expected a name/],
  ["node inspect ..", "name", 2, /"\.\." is no name/, /skein node ls/],
  ["node drain ..", "name", 2, /"\.\." is no name/, /skein node ls/],
  ["service inspect .", "name", 2, /"\." is no name/, /skein node ls/],

  ["network create No_Such", "text", 1, /No_Such/, /expected/],
  ["network create app --subnet 10.0.0.0", "text", 1, /10\.0\.0\.0/, /expected/],
  ["resolve web NOTYPE", "text", 1, /NOTYPE/, /expected/],
  ["doctor --area hats", "text", 2, /'hats' is invalid/, /Allowed choices are /],
  ["top --scope world", "text", 2, /'world' is invalid/, /Allowed choices are host, cluster/],
  ["top --sort size", "text", 2, /'size' is invalid/, /Allowed choices are traffic/],
  ["node ls --output xml", "text", 2, /'xml' is invalid/, /Allowed choices are table/],
  ["run --node.name a/b", "text", 2, /"node\.name" is "a\/b"/, /expected/],
  ["run --mesh.join no:such:host", "text", 2, /no:such:host/, /expected/],
  ["run --log.level loud", "text", 2, /"log\.level" is "loud"/, /expected/],
  ["config print --node.name a/b", "text", 1, /"node\.name" is "a\/b"/, /expected/],
  ["config print --mesh.join no:such:host", "text", 1, /no:such:host/, /expected/],
  ["config print --log.level loud", "text", 1, /"log\.level" is "loud"/, /expected/],

  ["status --socket FILES/token", "host", 4, /socket .*token/, /is the daemon running/],
  ["join no:such:host --token-file FILES/token", "host", 1, /"no:such:host"/, /expected host:port/],
  [
    "join 127.0.0.1:1 --data-dir FILES/state --token-file FILES/good --socket /nowhere",
    "host",
    4,
    /127\.0\.0\.1:1/,
    /./,
  ],

  ["join host-2", "token", 2, /no token/, /expected --token-file FILE/],
  ["join host-2 --token-file FILES/token --token x", "token", 2, /two tokens/, /expected --token-file FILE/],
  ["join host-2 --token-file FILES/empty", "token", 1, /token file .*empty is empty/, /expected the secret/],
  [
    "join 127.0.0.1:1 --data-dir FILES/state --token-file FILES/token --socket /nowhere",
    "token",
    1,
    /token/,
    /expected/,
  ],

  ["join host-2 --token-file FILES/none", "file", 3, /token file .*none/, /there is no such file/],
  ["join host-2 --token-file FILES", "file", 1, /token file /, /expected a file/],
  [
    "authority backup FILES/token --passphrase-file FILES/token",
    "file",
    1,
    /backup .*token/,
    /expected a new name/,
  ],
  [
    "authority backup FILES/no/such --passphrase-file FILES/token",
    "file",
    3,
    /no\/such/,
    /there is no such file/,
  ],
  [
    "authority backup FILES/new --passphrase-file FILES/none",
    "file",
    3,
    /passphrase file .*none/,
    /there is no such file/,
  ],
  [
    "authority restore FILES/none --passphrase-file FILES/token",
    "file",
    3,
    /backup .*none/,
    /there is no such file/,
  ],
  ["authority restore FILES --passphrase-file FILES/token", "file", 1, /backup /, /expected a file/],
  ["config check FILES/none", "file", 3, /none/, /is not there/],
  ["config check FILES", "file", 1, /config .* cannot be read/, /it is a folder; expected a file/],
  ["config check /dev/zero", "file", 1, /config \/dev\/zero/, /expected at most/],
  ["config check FILES/odd.yaml", "file", 1, /odd\.yaml:1/, NEAR],
  ["config print --config FILES/none", "file", 3, /none/, /is not there/],
  ["init --config FILES/none --socket /nowhere", "file", 3, /none/, /is not there/],
  ["init --data-dir /proc/none --socket /nowhere", "file", 1, /\/proc\/none/, /expected another --data-dir/],
  ["init --data-dir FILES/token --socket /nowhere", "file", 1, /token/, /expected another --data-dir/],
  ["run --config FILES/none", "file", 3, /none/, /is not there/],
  ["leave --force --config FILES/none --socket /nowhere", "file", 3, /none/, /is not there/],
];

/** Commands that need no daemon; what they do without one is in rows above, or in cli.test.ts. */
const ALONE: readonly RegExp[] = [/^(run|init|join|doctor|version|top)$/, /^(config|completion) /];

/** Commands that need full rights; `not-allowed` is the daemon's word. */
const FULL: readonly RegExp[] = [
  /^(drain|leave)$/,
  /^node (drain|activate|rm)$/,
  /^network (create|rm)$/,
  /^token /,
  /^authority /,
];

const PLACES = placesOf(programOf(() => () => Promise.resolve(), surroundings()));
/** Options that every command takes. */
const SHARED = new Set(PLACES.find(({ at }) => at === "version")?.flags.flatMap(({ flags }) => flags));
const LEAVES = PLACES.filter(
  ({ at, commands }) => at !== "" && commands.length === 0 && !/(^| )help$/.test(at),
);

/** A thing that can be wrong, and what must stand in a line in which it is: an option, or nothing for an argument. */
interface Slot {
  readonly wrongs: readonly Wrong[];
  readonly flag: string;
}

const WRONG_BY_KIND: Readonly<Record<Value["kind"], Wrong>> = {
  names: "name",
  files: "file",
  words: "text",
  any: "text",
};

/** Options whose file is read or made by the daemon's start alone, so that one row for all of them is enough. */
const AT_START = ["--config", "--data-dir", "--passphrase-file"];

/** What a command can be given wrong, by what it takes. */
function slotsOf({ at, flags, values }: Place): readonly Slot[] {
  const slots: Slot[] = values.map(({ kind }) => ({
    // Where to join is text as well, but who wrote it means a host.
    wrongs: at === "join" ? ["host"] : [WRONG_BY_KIND[kind]],
    flag: "",
  }));
  for (const { flags: names, value } of flags) {
    const flag = names.at(-1) ?? "";
    if (value === null || SHARED.has(flag)) continue;
    // Doctor's files are checks of its own: what is wrong with one is a line of its table.
    if (value.kind === "files" && at === "doctor") continue;
    if (AT_START.includes(flag)) slots.push({ wrongs: ["file"], flag: "" });
    else if (flag.startsWith("--token")) slots.push({ wrongs: ["token"], flag });
    else slots.push({ wrongs: [WRONG_BY_KIND[value.kind]], flag });
  }
  return slots;
}

function resolved(name: string, type: string, as: string | null): ResolveReport {
  if (as !== null) throw new Failure("not-found", `no container "${as}"; expected a name or an address`);
  if (!/^[A-Z]{1,5}$/.test(type)) throw new Failure("invalid", `type "${type}" is unknown; expected A`);
  return { name, type, rcode: "NXDOMAIN", answers: [], as: "this host" };
}

/** What the daemon says of a network that cannot be. */
function refusedNetwork(wish: NetworkWish): Promise<never> {
  const [overlay, vips] = ["10.160.0.0/11", "10.96.0.0/12"].map(parsePrefix);
  assert.ok(overlay?.ok === true && vips?.ok === true);
  const planned = planNetwork(wish, {
    charter: { clusterId: CLUSTER, networks: [] },
    overlayPool: overlay.value,
    pool: vips.value,
    members: [],
    foreign: new Set(),
  });
  assert.ok(!planned.ok, "it is refused");
  return Promise.reject(planned.failure);
}

async function place(t: TestContext): Promise<{ readonly files: string; readonly given: object }> {
  const files = await folder(t);
  await writeFile(join(files, "token"), "not a token\n");
  await writeFile(join(files, "good"), `SKTKN-1-${"0".repeat(50)}-${"0".repeat(25)}\n`);
  await writeFile(join(files, "empty"), "");
  await writeFile(join(files, "odd.yaml"), "nodes: {}\n");
  const ambience = { env: { HOME: files }, isRoot: false };
  return {
    files,
    given: {
      ...ambience,
      readSecret: readSecretFile,
      checkConfig: (file) => checkConfig(file, ambience),
      printConfig: (flags) => printConfig(flags, ambience),
      initCluster: (flags) => initCluster(flags, ambience),
      joinCluster: (flags, request) => joinCluster(flags, ambience, request),
      forgetCluster: async (flags) => (await initCluster(flags, ambience)).dataDir,
      // With a right configuration it would start: each of these is wrong.
      runDaemon: (flags) =>
        runDaemon(flags, { ...ambience, version: "0.1.0", exit: () => assert.fail("it ended") }),
    } satisfies Partial<Parameters<typeof surroundings>[0]>,
  };
}

function expectTold({ status, out, err }: Ran, line: string, row: Pick<Row, 2 | 3 | 4>): void {
  assert.equal(status, row[2], `${line}: ${err}`);
  const said = `${out}${err}`;
  assert.match(said, row[3], line);
  assert.match(said, row[4], line);
  assert.doesNotMatch(said, /\n {4}at |ENOENT|EISDIR|undefined|\[object/, line);
}

for (const row of ROWS) {
  const [line, wrong, status] = row;
  test(`bad input: ${line} (a wrong ${wrong}) ends with ${status}, by name`, async (t) => {
    const doors = await openDoors(t);
    doors.daemon.snapshot = exampleSnapshot();
    doors.daemon.resolved = resolved;
    doors.daemon.trust = {
      createNetwork: refusedNetwork,
      removeNetwork: (name) =>
        Promise.reject(new Failure("not-found", `no network "${name}"; did you mean "back"?`)),
    };
    const { files, given } = await place(t);
    const argv = line.replaceAll("FILES", files).split(" ");
    const socket = argv.includes("--socket") ? [] : ["--socket", doors.socketPath];
    expectTold(await run([...argv, ...socket], given), line, row);
  });
}

test("bad input: each command has a row for each argument and each option that it can be given wrong", () => {
  for (const leaf of LEAVES) {
    for (const { wrongs, flag } of slotsOf(leaf)) {
      const has = ROWS.some(([line, of]) => {
        const isMeant = wrongs.includes(of) && `${line} `.startsWith(`${leaf.at} `);
        return isMeant && ` ${line} `.includes(flag === "" ? "" : ` ${flag} `);
      });
      assert.ok(has, `skein ${leaf.at} ${flag}: no row with a wrong ${wrongs.join()}`);
    }
  }
});

test("bad input: each command tells of an option that is none and of words too many, and where to read", async () => {
  for (const { at, values } of LEAVES) {
    const words = at.split(" ");
    const odd = await run([...words, ...values.map(() => "service"), "--outptu", "json"]);
    expectTold(odd, at, { 2: 2, 3: /unknown option '--outptu'/, 4: new RegExp(`see: skein ${at} --help`) });
    const many = await run([...words, ...values.map(() => "service"), "more"]);
    expectTold(many, at, { 2: 2, 3: /too many arguments/, 4: new RegExp(`see: skein ${at} --help`) });
  }
});

test("bad input: each group of commands tells of a command that is none, with the nearest", async () => {
  for (const { at, commands } of PLACES.filter((one) => one.commands.length > 0)) {
    const [first] = commands;
    const words = [...at.split(" "), `${first?.word}x`].filter((word) => word !== "");
    const step = new RegExp(`Did you mean [^]*see: skein ${at === "" ? "" : `${at} `}--help`);
    const told = { 2: 2, 3: new RegExp(`'${first?.word}x'`), 4: step } as const;
    expectTold(await run(words), words.join(" "), told);
    const asked = [...words.slice(0, -1), "help", ...words.slice(-1)];
    expectTold(await run(asked), asked.join(" "), told);
    const whole = ["help", ...words];
    expectTold(await run(whole), whole.join(" "), told);
  }
});

test("bad input: each command that asks a daemon says that none answers, where, and what to do", async (t) => {
  const { files, given } = await place(t);
  for (const { at, values } of LEAVES.filter((leaf) => !ALONE.some((alone) => alone.test(leaf.at)))) {
    const passphrase = at.startsWith("authority") && !at.endsWith("rotate");
    const words = [
      ...at.split(" "),
      ...values.map(() => (at.endsWith("restore") ? `${files}/token` : `${files}/new`)),
    ];
    const flags = passphrase ? ["--passphrase-file", `${files}/token`] : [];
    const ran = await run([...words, ...flags, "--socket", "/nowhere/x.sock"], given);
    expectTold(ran, at, { 2: 4, 3: /\/nowhere\/x\.sock/, 4: /skein run|--socket/ });
  }
});

/** What may be behind a path that is given as the socket, and what is told of it. */
const STRANGERS: readonly (readonly [string, string, RegExp])[] = [
  ["a page", "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\n\r\n<html>", /answered 404, text\/html/],
  [
    "JSON of its own",
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"a":1}',
    /answered 200, app/,
  ],
  ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", /does not speak HTTP/],
];

for (const [what, answer, told] of STRANGERS) {
  test(`bad input: each command tells of a socket that answers with ${what} that it is not Skein's`, async (t) => {
    const { files, given } = await place(t);
    const socketPath = join(files, "other.sock");
    const server = createServer((socket) => socket.on("error", () => null).end(answer));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    t.after(() => server.close());
    const asking = LEAVES.filter(
      ({ at }) => /^(top|init|join)$/.test(at) || !ALONE.some((one) => one.test(at)),
    );
    for (const { at, values } of asking) {
      const words = [
        ...at.split(" "),
        ...values.map(() => (at.endsWith("restore") ? `${files}/token` : `${files}/new`)),
      ];
      const flags =
        at === "join"
          ? ["--token-file", `${files}/good`]
          : at.startsWith("authority") && !at.endsWith("rotate")
            ? ["--passphrase-file", `${files}/token`]
            : [];
      const ran = await run([...words, ...flags, "--socket", socketPath], given);
      expectTold(ran, at, {
        2: 1,
        3: /socket ".*other\.sock" is not Skein's/,
        4: /name the socket .* --socket/,
      });
      assert.match(ran.err, told, at);
    }
  });
}

test("bad input: each command that needs rights ends with 5 and the daemon's word where it has none", async (t) => {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const no = (): Promise<never> => {
    return Promise.reject(new Failure("not-allowed", "this node is a worker; expected a manager: ask there"));
  };
  doors.daemon.trust = {
    token: no,
    rotateToken: no,
    remove: no,
    backup: no,
    restore: no,
    rotateAuthority: no,
    createNetwork: no,
    removeNetwork: no,
    drainMember: no,
  };
  doors.daemon.drainResult = no;
  doors.daemon.leaveResult = no;
  const { files, given } = await place(t);
  const leaves = LEAVES.filter((leaf) => FULL.some((full) => full.test(leaf.at)));
  assert.ok(leaves.length >= 10);
  for (const { at, values } of leaves) {
    const argument = at.startsWith("authority")
      ? `${files}/${at.endsWith("restore") ? "token" : "new"}`
      : null;
    const name = at === "drain" ? "web-1" : at.startsWith("node") ? "host-2" : "app";
    const flags =
      at.startsWith("authority") && !at.endsWith("rotate") ? ["--passphrase-file", `${files}/token`] : [];
    const words = [...at.split(" "), ...values.map(() => argument ?? name), ...flags];
    const ran = await run([...words, "--socket", doors.socketPath], given);
    expectTold(ran, at, { 2: 5, 3: /this node is a worker/, 4: /expected a manager/ });
  }
});

test("bad input: a file that its user may not read ends with 5", async (t) => {
  const { files } = await place(t);
  await chmod(files, 0o755);
  const token = join(files, "token");
  await chmod(token, 0);
  const argv = [process.execPath, MAIN, "join", "host-2", "--token-file", token];
  // Root may read all, and so has to be somebody else.
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const [program = "", ...args] = process.getuid?.() === 0 ? [...nobody, ...argv] : argv;
  const env = { PATH: process.env["PATH"], HOME: files, NODE_DISABLE_COMPILE_CACHE: "1" };
  const { status, stdout: out, stderr: err } = spawnSync(program, args, { encoding: "utf8", env });
  expectTold({ status: status ?? -1, out, err }, "join", { 2: 5, 3: /token file/, 4: /no right/ });
});
