// Runs the CLI in the test's own process, with streams, clock and daemon that the test holds.

import { Writable } from "node:stream";

import { runCli } from "../../src/cli/cli.ts";
import type { ConfigFlags, Surroundings } from "../../src/cli/context.ts";
import { CLUSTER, NOW_MS } from "../admin/picture.ts";

/** What a run left behind. */
export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** A stream that remembers what was written to it. */
export class Paper extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.text += chunk.toString("utf8");
    done();
  }
}

/** Surroundings in which nothing runs and nothing is configured; `given` replaces parts of them. */
export function surroundings(given: Partial<Surroundings> = {}): Surroundings {
  return {
    stdout: new Paper(),
    stderr: new Paper(),
    env: {},
    isRoot: false,
    isTty: false,
    columns: 0,
    stderrColumns: 0,
    endsWithDaemon: () => false,
    terminal: null,
    nowMs: () => NOW_MS,
    version: "0.1.0",
    runtime: "v24.0.0",
    interrupted: new AbortController().signal,
    configKeys: ["node.name", "mesh.join", "log.level"],
    renderYaml: (value) => `yaml: ${JSON.stringify(value)}\n`,
    readSecret: (path) => Promise.resolve(`secret in ${path}`),
    initCluster: () => Promise.resolve({ clusterId: CLUSTER, made: true, dataDir: "/state" }),
    joinCluster: () =>
      Promise.resolve({ node: "host-1", clusterId: CLUSTER, role: "worker", joined: true } as const),
    forgetCluster: () => Promise.resolve("/state"),
    cleanHost: () => Promise.resolve([]),
    examineHost: () => Promise.resolve({ checks: [] }),
    runDaemon: () => Promise.resolve(0),
    checkConfig: () => undefined,
    printConfig: (flags: ConfigFlags) => ({ given: flags.values }),
    ...given,
  };
}

/** Runs the CLI to its end. */
export async function run(argv: readonly string[], given: Partial<Surroundings> = {}): Promise<Ran> {
  const [stdout, stderr] = [new Paper(), new Paper()];
  const status = await runCli(argv, surroundings({ stdout, stderr, ...given }));
  return { status, out: stdout.text, err: stderr.text };
}
