/**
 * Prometheus: Debian's own, which scrapes daemons of a test and answers queries about them.
 *
 * Touches: a child process, its folder, a port of the test's block.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { folderFor, type DaemonUnderTest, type Ending } from "../support/daemons.ts";
import { prometheusAt, type Prometheus } from "../support/prometheus.ts";
import { until } from "../support/wait.ts";

/** Starts one at an address, which scrapes the hosts twice a second; ended with the test. */
export async function startPrometheus(
  t: Ending,
  { address, hosts, rules }: { address: string; hosts: readonly DaemonUnderTest[]; rules: readonly string[] },
): Promise<Prometheus> {
  const folder = folderFor(t);
  const file = join(folder, "prometheus.yaml");
  const targets = hosts.map((host) => `${host.address}:7651`);
  const scraped = [{ job_name: "skein", static_configs: [{ targets }] }];
  const pace = { scrape_interval: "500ms", scrape_timeout: "500ms", evaluation_interval: "1s" };
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ global: pace, rule_files: rules, scrape_configs: scraped }));
  const listen = `${address}:9090`;
  const child = spawn(
    "prometheus",
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${listen}`,
      "--log.level=warn",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  });
  const prometheus = prometheusAt(listen);
  const runs = async (): Promise<boolean> => (await prometheus.get("status/runtimeinfo")) !== null;
  await until(runs, { what: `Prometheus runs: ${log}` });
  return prometheus;
}
