// Upstreams: the host's resolver, followed while the daemon runs.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import type { Base } from "../../src/daemon/base.ts";
import { followUpstreams } from "../../src/daemon/upstreams.ts";
import { folderFor } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

interface Followed {
  /** Writes the file; each text is a server's address. */
  readonly write: (...servers: readonly string[]) => Promise<void>;
  /** Whom the server was told to ask, each time. */
  readonly told: string[][];
  readonly warnings: string[];
  /** How often the servers of the file were compared with the server's own addresses. */
  looks: number;
}

/** A daemon that was started with these upstreams, while the file may say something else already. */
async function followed(
  t: TestContext,
  asked: readonly string[],
  inFile: readonly string[],
): Promise<Followed> {
  const path = join(folderFor(t), "resolv.conf");
  const write = async (...servers: readonly string[]): Promise<void> => {
    await writeFile(path, servers.map((server) => `nameserver ${server}\n`).join(""));
  };
  await write(...inFile);
  const told: string[][] = [];
  const warnings: string[] = [];
  const state = { looks: 0 };
  const standing = (host: string) => ({ address: { host, port: 53 }, state: "unknown" });
  let upstreams = asked.map(standing);
  const server = {
    get addresses() {
      state.looks += 1;
      return [{ host: "192.0.2.53", port: 53 }];
    },
    setUpstreams(wished: readonly HostPort[]) {
      told.push(wished.map(({ host }) => host));
      upstreams = wished.map(({ host }) => standing(host));
    },
    stats: () => ({ forwarding: { upstreams } }),
  };
  const log = { info() {}, warn: (text: string) => warnings.push(text) };
  const base = {
    options: { config: { dns: { upstream: ["auto"], listen: [] } }, log },
    lifecycle: { opened: ({ close }: { readonly close: () => void }) => t.after(close) },
    report: { choose() {} },
  };
  // Parts, as much as is used of them.
  followUpstreams(
    base as unknown as Pick<Base, "options" | "lifecycle" | "report">,
    server as unknown as Parameters<typeof followUpstreams>[1],
    path,
  );
  return Object.assign(state, { write, told, warnings });
}

test("upstreams: what changed between the start and the watch is taken over at once", async (t) => {
  const { told } = await followed(t, ["192.0.2.1"], ["192.0.2.2"]);
  await until(() => told.length > 0);
  assert.deepEqual(told, [["192.0.2.2"]]);
});

test("upstreams: servers that are ourselves are handed on, too: they may not be tomorrow", async (t) => {
  const { told } = await followed(t, ["192.0.2.1"], ["192.0.2.53", "192.0.2.2"]);
  await until(() => told.length > 0);
  assert.deepEqual(told, [["192.0.2.53", "192.0.2.2"]]);
});

test("upstreams: a file that names only ourselves changes nothing, and is told once others were in it", async (t) => {
  const before = await followed(t, ["192.0.2.1"], ["192.0.2.53"]);
  await until(() => before.warnings.length > 0);
  assert.match(before.warnings.join(), /names no other server any more/);
  const never = await followed(t, [], ["192.0.2.53"]);
  await until(() => never.looks > 0);
  await never.write("192.0.2.2");
  await until(() => never.told.length > 0);
  assert.deepEqual([before.told, never.warnings], [[], []]);
});
