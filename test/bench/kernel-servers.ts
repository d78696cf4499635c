/**
 * Kernel-servers: what is asked in the bench of the kernel, and by which ways.
 *
 * One web server in each container of the second host, and on the first host HAProxy, set up for speed as its users
 * would, with one thread and in front of the same replicas as the VIP.
 *
 * Touches: child processes in the hosts of the bench, the folder it is given.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../support/wait.ts";

import { pinWords } from "./dns-load.ts";
import { addressOf, LOADED_REPLICAS, PORT, TARGET_PORT, vipOf } from "./kernel-view.ts";
import { boxAddress, type Box, type Wire } from "./kernel-wire.ts";
import { LARGE_BYTES } from "./proxy-rivals.ts";

/** Of services that are there to be in the way: so many replicas each; and how many they are where they are few. */
export const MANY_REPLICAS = 3;
export const FEW_SERVICES = 10;
const HAPROXY_PORT = 9000;

/** Where a load goes: the words are those of the figures. */
export type Way = "direct" | "vip" | "haproxy" | "vxlan" | "handmade";

/** Makes links and rules on both hosts, starts the servers, and waits until each way leads to one. */
export async function startServers({ hosts: [near, far] }: Wire, dir: string): Promise<void> {
  await near.order({ kind: "links" });
  await far.order({ kind: "links" });
  await far.order({ kind: "rules", services: FEW_SERVICES, replicas: MANY_REPLICAS });
  await near.order({ kind: "rules", services: FEW_SERVICES, replicas: MANY_REPLICAS });
  for (const box of ["ours", "hand"] as const) {
    const home = join(dir, box);
    mkdirSync(join(home, "root"), { recursive: true });
    writeFileSync(join(home, "root", "large"), Buffer.alloc(LARGE_BYTES, "skein"));
    writeFileSync(join(home, "config"), nginxConfig(home));
    far.start([...farCpu(), "nginx", "-p", home, "-e", "stderr", "-c", join(home, "config")], box);
  }
  writeFileSync(join(dir, "haproxy"), haproxyConfig());
  near.start([...nearCpu(), "haproxy", "-db", "-f", join(dir, "haproxy")]);
  for (const way of ["direct", "vip", "haproxy", "handmade"] as const) {
    const { box, url } = placeOf(way);
    const asked = async (): Promise<boolean> =>
      (await near.run(["curl", "-sS", "-m1", url], box)) === "hello";
    await until(asked, { what: `${way}: ${url} answers`, deadlineMs: 10_000, everyMs: 100 });
  }
}

/** From which container a way is loaded, and where to. */
export function placeOf(way: Way): { readonly box: Box; readonly url: string } {
  switch (way) {
    case "direct":
    case "vxlan":
      return { box: "ours", url: `http://${boxAddress(2, "ours")}:${TARGET_PORT}/` };
    case "handmade":
      return { box: "hand", url: `http://${boxAddress(2, "hand")}:${TARGET_PORT}/` };
    case "vip":
      return { box: "ours", url: `http://${vipOf(0)}:${PORT}/` };
    case "haproxy":
      return { box: "ours", url: `http://${addressOf(1, 1)}:${HAPROXY_PORT}/` };
  }
}

/** The words that put a program of the first host on its CPU. */
export function nearCpu(): readonly string[] {
  return pinWords?.client ?? [];
}

function farCpu(): readonly string[] {
  return pinWords === null ? [] : ["taskset", "-c", "0"];
}

/** One process, no master: it ends with its host. */
function nginxConfig(home: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
daemon off;
master_process off;
pid ${home}/nginx.pid;
error_log /dev/null;
events { worker_connections 8000; }
http {
  access_log off;
  keepalive_requests 100000000;
  ${temporary.map((name) => `${name}_temp_path ${home}/${name};`).join(" ")}
  server {
    listen ${TARGET_PORT} backlog=4096;
    location / { return 200 "hello\\n"; }
    location = /large { root ${home}/root; }
  }
}
`;
}

function haproxyConfig(): string {
  const servers = Array.from(
    { length: LOADED_REPLICAS },
    (_, at) => `  server s${at} ${addressOf(2, 2 + at)}:${TARGET_PORT}`,
  );
  return `
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 1s
  timeout client 60s
  timeout server 60s
listen front
  bind ${addressOf(1, 1)}:${HAPROXY_PORT}
  balance roundrobin
${servers.join("\n")}
`;
}
