/**
 * Demo: the main job on one machine, without root and without Docker.
 *
 * Three daemons on 127.0.0.1, .2 and .3, six replicas of `web` on the first two. The first makes the cluster and the
 * others join it with tokens, which others after them cannot. The demo asks as users do (a real DNS query, real HTTP),
 * breaks things under load (a replica killed, one frozen, a whole host), and counts what failed.
 * With --once it ends after the table, with status 0 only if all held; else it goes on serving until Ctrl-C.
 * Whatever happens, its processes are ended and its folder is removed.
 *
 * Touches: child processes, loopback addresses, a temporary folder, standard output.
 */

import { Resolver } from "node:dns/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { Children } from "./children.ts";
import { bars, during, say, table, type Finding } from "./draw.ts";
import {
  PORTS,
  restartReplica,
  rolesSeenBy,
  SERVICE_PORT,
  startDaemon,
  startHost,
  tokenOf,
  tryToJoin,
  type DemoHost,
} from "./hosts.ts";
import { ask, emptyAccount, steadyLoad, type Account, type Aim } from "./load.ts";

const DEADLINE_MS = 20_000;
const LOAD_PER_SECOND = 200;
/** How long each breakage is watched under load. */
const WATCHED_MS = 4000;

/** Every ready replica, by name. */
const TASKS = "tasks.web.default.skein.internal";

const isOnce = process.argv.includes("--once");
const children = new Children();
const dir = mkdtempSync(join(tmpdir(), "skein-demo-"));
process.on("exit", () => {
  children.endAllNow();
  rmSync(dir, { recursive: true, force: true });
});

/** Looks until `look` gives something; the time it took in milliseconds and what it gave. */
async function until<T>(what: string, look: () => Promise<T | null>): Promise<{ tookMs: number; value: T }> {
  const startMs = performance.now();
  for (;;) {
    const value = await look().catch(() => null);
    const tookMs = performance.now() - startMs;
    if (value !== null) return { tookMs, value };
    if (tookMs > DEADLINE_MS) throw new Error(`not within ${DEADLINE_MS / 1000} s: ${what}`);
    await pause(10);
  }
}

/** Asks one host's daemon for a name, over UDP. */
async function lookup(host: DemoHost, name: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: 500, tries: 2 });
  resolver.setServers([`${host.address}:${PORTS.dns}`]);
  return resolver.resolve4(name);
}

async function twelve(aim: Aim): Promise<Account> {
  const agent = new Agent({ keepAlive: true });
  const account = emptyAccount();
  for (let count = 0; count < 12; count += 1) await ask(aim, agent, account);
  agent.destroy();
  return account;
}

async function portsAreFree(): Promise<void> {
  for (const index of [1, 2, 3]) {
    for (const port of Object.values(PORTS)) {
      const host = `127.0.0.${index}`;
      await new Promise<void>((resolve, reject) => {
        const server = createServer();
        server.once("error", () =>
          reject(new Error(`${host}:${port} is taken; the demo needs it: stop what listens there`)),
        );
        server.listen(port, host, () => server.close(() => resolve()));
      });
    }
  }
}

function evenly(account: Account): boolean {
  return (
    account.failed === 0 &&
    account.countByReplica.size === 6 &&
    [...account.countByReplica.values()].every((n) => n === 2)
  );
}

function accountText(account: Account): string {
  return `${account.failed} failed of ${account.asked}, slowest ${Math.round(account.slowestMs)} ms`;
}

/** Runs the story; returns what it found. */
async function story(): Promise<Finding[]> {
  const findings: Finding[] = [];
  say("\nSkein: three hosts, six replicas of `web` on the first two, no orchestrator\n");
  await portsAreFree();
  const hosts = await during("start a cluster on host-1, join host-2 and host-3", startAll(), () => "up");
  const [first, second, third] = hosts;
  const ready = await during(
    "every host sees six ready replicas",
    until("six replicas in every host's DNS", async () => {
      const counts = await Promise.all(hosts.map(async (host) => (await lookup(host, TASKS)).length));
      return counts.every((count) => count === 6) ? counts : null;
    }),
    ({ tookMs }) => `${Math.round(tookMs)} ms`,
  );
  findings.push({
    what: "cluster formed, all replicas ready",
    expected: "6 on 3 hosts",
    seen: `${Math.round(ready.tookMs)} ms`,
    holds: true,
  });

  findings.push(...(await closedMesh(first, third)));
  const vips = await Promise.all(hosts.map((host) => lookup(host, "web.default.skein.internal")));
  const vip = vips[0]?.[0] ?? "none";
  const isOne = new Set(vips.flat()).size === 1 && vips.every((answers) => answers.length === 1);
  say(`\n  web.default.skein.internal is ${vip}, asked at each of the three hosts`);
  findings.push({ what: "one name, one VIP, on every host", expected: "1 address", seen: vip, holds: isOne });

  const vipAim: Aim = { host: vip, port: SERVICE_PORT };
  const ingressAim: Aim = { host: third.address, port: PORTS.http, hostHeader: "web.example.com" };
  for (const [what, aim] of [
    ["12 requests through the VIP", vipAim],
    ["12 through the ingress of host-3, which has no replica", ingressAim],
  ] as const) {
    const account = await twelve(aim);
    say(`\n  ${what}:\n${bars(account.countByReplica)}`);
    findings.push({
      what,
      expected: "2 each, 0 failed",
      seen: `${account.countByReplica.size} replicas, ${account.failed} failed`,
      holds: evenly(account),
    });
  }
  findings.push(...(await breakages({ first, second, third, ingressAim })));
  return findings;
}

async function startAll(): Promise<[DemoHost, DemoHost, DemoHost]> {
  const first = await startHost(children, { index: 1, dir, replicaCount: 3 });
  await until("host-1 serves", async () => {
    return (await fetch(`http://${first.address}:${PORTS.admin}/readyz`)).ok ? true : null;
  });
  const [manager, worker] = await Promise.all([
    tokenOf(children, first, "manager"),
    tokenOf(children, first, "worker"),
  ]);
  const second = await startHost(children, { index: 2, dir, replicaCount: 3, token: manager });
  const third = await startHost(children, { index: 3, dir, replicaCount: 0, token: worker });
  return [first, second, third];
}

/** Who is in, and that nobody else gets in: neither without TLS, nor with a token that counts no more. */
async function closedMesh(first: DemoHost, third: DemoHost): Promise<Finding[]> {
  const expected = "host-1 manager, host-2 manager, host-3 worker";
  const roles = await rolesSeenBy(third);
  const seen = Array.from(roles, ([name, role]) => `${name} ${role}`).join(", ");
  say(`\n  members by their certificates: ${seen}`);
  const old = await tokenOf(children, first, "worker");
  await tokenOf(children, first, "worker", "--rotate");
  const { code, said } = await tryToJoin(children, { dir, token: old });
  say(`  a stranger with a token that was rotated: ${said}`);
  const plain = await fetch(`http://${first.address}:${PORTS.mesh}/`);
  say(`  a stranger without TLS: ${(await plain.text()).trim()}`);
  const isRefused = code === 5 && plain.status === 400;
  const out = isRefused ? "refused" : `exit status ${code}, HTTP status ${plain.status}`;
  return [
    {
      what: "roles, by certificate, as host-3 has them",
      expected: "as joined",
      seen,
      holds: seen === expected,
    },
    { what: "strangers: an old token; no TLS", expected: "refused", seen: out, holds: isRefused },
  ];
}

async function breakages(stage: {
  first: DemoHost;
  second: DemoHost;
  third: DemoHost;
  ingressAim: Aim;
}): Promise<Finding[]> {
  const { first, second, third, ingressAim } = stage;
  const findings: Finding[] = [];
  const load = steadyLoad(ingressAim, LOAD_PER_SECOND);
  say(`\n  from here on ${LOAD_PER_SECOND} requests a second enter at host-3\n`);
  const watched = async (what: string, work: () => Promise<Told>): Promise<void> => {
    load.turn();
    const doing = async (): Promise<{ told: ReturnType<Told>; account: Account }> => {
      const tell = await work();
      await pause(WATCHED_MS);
      const account = load.turn();
      return { told: tell(account), account };
    };
    const outcome = ({ told, account }: { told: ReturnType<Told>; account: Account }): string => {
      return [accountText(account), told.text].filter((text) => text !== "").join("; ");
    };
    const done = await during(what, doing(), outcome);
    for (const failure of new Set(done.account.failures)) say(`      ${failure}`);
    // A load that hardly ran has nothing failed either.
    const wasLoaded = done.account.answered > (LOAD_PER_SECOND * WATCHED_MS) / 2000;
    const holds = done.account.failed === 0 && wasLoaded && done.told.holds;
    findings.push({ what, expected: "0 failed", seen: outcome(done), holds });
  };
  try {
    const [killed, frozen] = first.replicas;
    if (killed === undefined || frozen === undefined) throw new Error("host-1 has no replicas");
    await watched(`kill -9 of ${killed.name}`, async () => {
      children.signal(killed.child, "SIGKILL");
      return nothing;
    });
    await restartReplica(children, killed);
    await watched(`SIGSTOP of ${frozen.name}, which still accepts`, async () => {
      children.signal(frozen.child, "SIGSTOP");
      return nothing;
    });
    children.signal(frozen.child, "SIGCONT");
    await watched("kill -9 of all of host-2, daemon and replicas", () => loseHost(second, third));
    await watched("host-2 comes back", () => returnHost(second, third));
  } finally {
    await load.stop();
  }
  return findings;
}

/** What is to be said of a stretch, once its account is closed, and whether it is as it should be. */
type Told = (account: Account) => { readonly text: string; readonly holds: boolean };

const nothing: Told = () => ({ text: "", holds: true });

async function loseHost(second: DemoHost, third: DemoHost): Promise<Told> {
  const killedMs = performance.now();
  for (const child of [second.daemon, ...second.replicas.map((replica) => replica.child)]) {
    if (child !== null) children.signal(child, "SIGKILL");
  }
  const { tookMs } = await until("host-2's replicas leave host-3's DNS", async () => {
    const answers = await lookup(third, TASKS);
    return answers.some((answer) => isOn(second, answer)) ? null : answers;
  });
  return (account) => {
    const lastMs = Math.max(killedMs, ...answersOf(second, account).map((answered) => answered.lastMs));
    const leftMs = Math.round(lastMs - killedMs);
    return { text: `out of DNS after ${Math.round(tookMs)} ms, of traffic after ${leftMs} ms`, holds: true };
  };
}

async function returnHost(second: DemoHost, third: DemoHost): Promise<Told> {
  for (const replica of second.replicas) await restartReplica(children, replica);
  const startedMs = performance.now();
  startDaemon(children, second);
  const { tookMs } = await until("host-2's replicas are back in host-3's DNS", async () => {
    const answers = await lookup(third, TASKS);
    return answers.some((answer) => isOn(second, answer)) ? answers : null;
  });
  return (account) => {
    const firstMs = Math.min(...answersOf(second, account).map((answered) => answered.firstMs));
    if (firstMs === Infinity) return { text: "in DNS, but it answered nothing", holds: false };
    const backMs = Math.round(firstMs - startedMs);
    return { text: `back in DNS after ${Math.round(tookMs)} ms, in traffic after ${backMs} ms`, holds: true };
  };
}

function answersOf(host: DemoHost, account: Account): { firstMs: number; lastMs: number }[] {
  return host.replicas.flatMap(({ name }) => account.answeredMsByReplica.get(name) ?? []);
}

function isOn(host: DemoHost, address: string): boolean {
  return host.replicas.some((replica) => replica.address === address);
}

async function close(): Promise<void> {
  await children.endAll();
}

async function main(): Promise<number> {
  const stopped = new Promise<number>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve(130));
  });
  const told = story().then((findings) => {
    say(`\n${table(findings)}`);
    return findings.every(({ holds }) => holds) ? 0 : 1;
  });
  const outcome = await Promise.race([told, stopped]);
  if (isOnce || outcome === 130) return outcome;
  say("\n  The cluster goes on; end it with Ctrl-C. Try:\n");
  say(`    curl -H 'Host: web.example.com' http://127.0.0.3:${PORTS.http}/`);
  say(`    dig @127.0.0.3 -p ${PORTS.dns} web.default.skein.internal`);
  say(`    curl http://127.0.0.1:${PORTS.admin}/api/v1/explain/web`);
  say(`    npx skein --socket ${join(dir, "host-1", "skein.sock")} service ls\n`);
  await stopped;
  return outcome;
}

let status = 1;
try {
  status = await main();
} catch (thrown) {
  say(`\n  ✗ ${thrown instanceof Error ? thrown.message : String(thrown)}`);
}
await close();
process.exit(status);
