// Three hosts with an encrypted network, and somebody on the LAN who reads along. Run by hosts.test.ts in
// namespaces of its own.
//
// What is sent is a ping with a known pattern, so that a capture can tell whether it is there in clear; that the
// capture would see it is shown first.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { openWireguardKey } from "../../../src/kernel/wireguard/key.ts";
import { run } from "../../../src/runtime/exec.ts";
import { until } from "../../support/wait.ts";
import { keyOf } from "./cluster.ts";
import type { HostTask } from "./host.ts";

const DEADLINE = { deadlineMs: 20_000 };
const PLAIN = "skein in clear";
const HOSTS = [1, 2, 3] as const;
const folder = mkdtempSync("/run/skein-test-");
const dataDir = (host: number): string => join(folder, `h${host}`);

async function does(...[program = "", ...args]: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, DEADLINE);
  assert.equal(status, 0, `${program} ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout;
}

const at = (place: string, ...args: readonly string[]): Promise<string> =>
  does("ip", "netns", "exec", place, ...args);

/** Whether an address answers; each ping has the pattern in it many times. */
async function answers(place: string, address: string): Promise<boolean> {
  const pattern = Buffer.from(PLAIN).toString("hex");
  const words = ["netns", "exec", place, "ping", "-n", "-c1", "-W0.5", "-s200", "-p", pattern, address];
  return (await run("ip", words, DEADLINE)).status === 0;
}

/** A host with a bridge and a container on it, on the LAN. */
async function openHost(host: number): Promise<void> {
  for (const place of [`h${host}`, `c${host}`]) await does("ip", "netns", "add", place);
  await does(
    "ip",
    "link",
    "add",
    `lan${host}`,
    "master",
    "lan",
    "up",
    "type",
    "veth",
    "peer",
    "eth0",
    "netns",
    `h${host}`,
  );
  const h = (...args: readonly string[]): Promise<string> => at(`h${host}`, "ip", ...args);
  await h("link", "set", "lo", "up");
  await h("address", "add", `192.0.2.${host}/24`, "dev", "eth0");
  await h("link", "set", "eth0", "up");
  // Where whatever has no better route would go, and be read.
  await h("route", "add", "default", "via", "192.0.2.254");
  await h("link", "add", "sk-secret", "up", "type", "bridge");
  await h("address", "add", `10.160.${host}.1/24`, "dev", "sk-secret");
  await h(
    "link",
    "add",
    "veth0",
    "master",
    "sk-secret",
    "up",
    "type",
    "veth",
    "peer",
    "eth0",
    "netns",
    `c${host}`,
  );
  await at(`h${host}`, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
  await at(`c${host}`, "ip", "address", "add", `10.160.${host}.2/24`, "dev", "eth0");
  await at(`c${host}`, "ip", "link", "set", "eth0", "up");
  await at(`c${host}`, "ip", "route", "add", "default", "via", `10.160.${host}.1`);
  await mkdir(dataDir(host));
}

async function makeIt(host: number, keys: readonly string[], remove = false): Promise<string> {
  const task: HostTask = { host, dataDir: dataDir(host), keys, remove };
  return await at(`h${host}`, process.execPath, join(import.meta.dirname, "host.ts"), JSON.stringify(task));
}

/** Reads along on the LAN while something is done. @returns all bytes of all packets */
async function readAlong(doing: () => Promise<void>): Promise<Buffer> {
  const path = join(folder, "lan.pcap");
  const capture = spawn(
    "tcpdump",
    ["-n", "-U", "--immediate-mode", "-s0", "-B16384", "-Zroot", "-ilan", `-w${path}`],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let told = "";
  capture.stderr.on("data", (chunk: Buffer) => (told += chunk.toString()));
  await until(() => told.includes("listening on"));
  await doing();
  // The last packet may be on its way to the file: another one after it shows that all before are there.
  const sizeBytes = statSync(path).size;
  await run("ip", ["netns", "exec", "h1", "ping", "-n", "-c1", "-W1", "192.0.2.2"], DEADLINE);
  await until(() => statSync(path).size > sizeBytes);
  const ended = new Promise((resolve) => capture.once("close", resolve));
  capture.kill("SIGINT");
  await ended;
  assert.match(told, /^0 packets dropped by kernel$/m, told);
  return readFileSync(path);
}

await does("ip", "link", "add", "lan", "up", "type", "bridge");
for (const host of HOSTS) await openHost(host);
/** What the overlay is made of: addresses and routes. */
async function overlayOf(place: string): Promise<string> {
  const all = ["table", "all"] as const;
  const shown = [
    at(place, "ip", "-4", "-oneline", "address"),
    at(place, "ip", "-4", "route", "show", ...all),
  ];
  return (await Promise.all(shown)).join();
}

const before = await overlayOf("h1");
const keys = await Promise.all(HOSTS.map(async (host) => (await openWireguardKey(dataDir(host))).publicKey));
await Promise.all(HOSTS.map((host) => makeIt(host, keys)));

console.log("who reads along sees what is sent in clear");
const control = await readAlong(async () => {
  await until(() => answers("h1", "192.0.2.2"));
});
assert.ok(control.includes(PLAIN));

console.log("containers of two hosts reach each other, and who reads along sees nothing of it");
const secret = await readAlong(async () => {
  await until(() => answers("c1", "10.160.2.2"));
  await until(() => answers("c2", "10.160.3.2"));
});
assert.ok(!secret.includes(PLAIN));

console.log("a restarted daemon finds all as it is");
const again = JSON.parse(await makeIt(1, keys)) as readonly { readonly changes: number }[];
assert.deepEqual(
  again.map(({ changes }) => changes),
  [0, 0, 0],
);

console.log("nothing passes to a host that has not the key it says, in clear neither");
await makeIt(1, [...keys.slice(0, 2), keyOf(9)]);
const toThief = await readAlong(async () => {
  assert.equal(await answers("c1", "10.160.3.2"), false);
});
assert.ok(!toThief.includes(PLAIN));
await until(() => answers("c1", "10.160.2.2"), { what: "the others are reached as before" });
await makeIt(1, keys);
await until(() => answers("c1", "10.160.3.2"), { what: "reached again under its own key" });

console.log("with the device gone nothing leaves in clear, and the next look repairs it");
const namespace = /\d+/.exec(await at("h1", "readlink", "/proc/self/ns/net"))?.[0] ?? "";
await does("pkill", "-KILL", "-f", "-x", `wireguard-go sk${namespace}`);
await until(async () => !(await at("h1", "ip", "-oneline", "link")).includes("sk-wg"));
const gone = await readAlong(async () => {
  assert.equal(await answers("c1", "10.160.2.2"), false);
  assert.equal(await answers("h1", "10.160.2.2"), false);
});
assert.ok(!gone.includes(PLAIN));
await makeIt(1, keys);
await until(() => answers("c1", "10.160.2.2"));

console.log("removed, the host is as it was");
await makeIt(1, keys, true);
assert.equal(await overlayOf("h1"), before);
