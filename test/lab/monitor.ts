/**
 * Monitor: Debian's Prometheus on the hosts of a cluster, with the files that we ship and as docs/operating.md says.
 *
 * The first host has the one that is asked, with the alerts; the others have agents that write to it. Of our files only
 * what a user changes is changed, and the pace: nobody is to wait a quarter of a minute for a number.
 *
 * Touches: files and processes of the hosts of a lab.
 */

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { prometheusAt, type Prometheus } from "../support/prometheus.ts";
import { until } from "../support/wait.ts";

import type { LabProgram } from "./program.ts";
import type { SkeinCluster, SkeinNode } from "./skein.ts";

const SHIPPED = fileURLToPath(new URL("../../config/prometheus/", import.meta.url));
const FOLDER = "/etc/monitoring";
const STATE = "/var/lib/monitoring";
const PORT = 9090;

/** One that is asked, and what ends it and its agents. */
export interface Monitor extends Prometheus {
  readonly close: () => Promise<void>;
}

/** A rule with what it came to; `health` is `unknown` before it was tried. */
export interface Rule {
  readonly name: string;
  readonly health: "ok" | "err" | "unknown";
  readonly lastError?: string;
}

/** All rules that it tries. */
export async function rulesIn(monitor: Prometheus): Promise<readonly Rule[]> {
  const { groups } = (await monitor.get("rules")) as {
    readonly groups: readonly { readonly rules: readonly Rule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** Starts Prometheus on the first host and agents on all others. */
export async function openMonitor({ nodes: [first, ...others] }: SkeinCluster): Promise<Monitor> {
  assert.ok(first !== undefined, "there is a host");
  const listen = `${first.host.address}:${PORT}`;
  keepFile(first, "prometheus.yaml", { "15s": "1s", "host-1": first.name });
  copyFileSync(join(SHIPPED, "alerts.yaml"), join(first.host.path(FOLDER), "alerts.yaml"));
  const own = [`--storage.tsdb.path=${STATE}`, "--web.enable-remote-write-receiver"];
  const programs = [await start(first, "prometheus.yaml", own)];
  const monitor = prometheusAt(listen);
  const runs = async (): Promise<boolean> => (await monitor.get("status/runtimeinfo")) !== null;
  await until(runs, { what: "Prometheus runs", everyMs: 50 });
  const agents = others.map(async (node) => {
    keepFile(node, "agent.yaml", { "15s": "1s", "host-1:9090": listen, "host-2": node.name });
    const words = ["--enable-feature=agent", `--storage.agent.path=${STATE}`];
    return await start(node, "agent.yaml", words);
  });
  programs.push(...(await Promise.all(agents)));
  return {
    ...monitor,
    close: async () => void (await Promise.all(programs.map(async (one) => await one.stop("SIGKILL")))),
  };
}

/** Puts a file of ours on a host, with texts in it exchanged. */
function keepFile({ host }: SkeinNode, name: string, exchanged: Readonly<Record<string, string>>): void {
  let text = readFileSync(join(SHIPPED, name), "utf8");
  for (const [from, to] of Object.entries(exchanged)) {
    assert.ok(text.includes(from), `${name} has ${from}`);
    text = text.replaceAll(from, to);
  }
  mkdirSync(host.path(FOLDER), { recursive: true });
  writeFileSync(join(host.path(FOLDER), name), text);
}

async function start({ host }: SkeinNode, file: string, words: readonly string[]): Promise<LabProgram> {
  const listening = `--web.listen-address=0.0.0.0:${PORT}`;
  const argv = ["prometheus", `--config.file=${FOLDER}/${file}`, listening, ...words, "--log.level=warn"];
  return await host.spawn(argv, { log: "prometheus" });
}
