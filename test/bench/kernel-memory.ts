/**
 * Kernel-memory: a program that measures what a daemon holds whose kernel carries the traffic of 1,000 services with 10
 * replicas each, and prints the figures as JSON.
 *
 *   unshare --net node kernel-memory.ts
 *
 * In a network namespace of its own, for the daemon makes rules there. All replicas are reached by their addresses, so
 * that each of them is in the rules.
 *
 * Touches: child processes, links, the kernel of the network namespace it is in.
 */

import { execFileSync } from "node:child_process";

import { measureMemory } from "./memory.ts";

execFileSync("ip", ["link", "set", "lo", "up"]);
const figures = await measureMemory({
  config: { dataplane: { mode: "kernel" }, vip: { pool: "10.96.0.0/12", listen: true } },
  offer: { reach: "direct", protocol: "tcp", vips: "10.97" },
});
const rules = execFileSync("nft", ["list", "table", "inet", "skein"], { maxBuffer: 2 ** 28 }).toString();
const upstreams = new Set(rules.match(/172\.\d+\.\d+\.\d+ \. 8080/g) ?? []).size;
process.stdout.write(`${JSON.stringify({ ...figures, upstreams })}\n`);
