// A daemon that listens on a wildcard, on a host with two addresses, asked from another host by a real program.

import assert from "node:assert/strict";
import { test } from "node:test";

import { daemonFor } from "../support/daemons.ts";
import { until } from "../support/wait.ts";
import { openStubHost, STUB_ADDRESS, stubSkip, type StubHost } from "./stub-host.ts";

const SECOND = "192.0.2.11";
const THIRD = "192.0.2.12";
const ASKER = "192.0.2.99";

/** Puts the far end of the host's cable into a network of its own; returns the words to run a program there. */
async function openAsker(host: StubHost): Promise<readonly string[]> {
  const holder = await host.start(
    ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
    "ready",
  );
  const inside = ["nsenter", `--target=${holder.pid ?? 0}`, "--net", "--"];
  await host.run("ip", "link", "set", "eth1", "netns", String(holder.pid));
  await host.run(...inside, "ip", "addr", "add", `${ASKER}/24`, "dev", "eth1");
  await host.run(...inside, "ip", "link", "set", "eth1", "up");
  return inside;
}

test(
  "dns wildcard: a query to any address of the host is answered from there, also to one that came later",
  { skip: stubSkip({ kdig: "knot-dnsutils" }) },
  async (t) => {
    const host = await openStubHost(t);
    await host.run("ip", "addr", "add", `${SECOND}/24`, "dev", "eth0");
    const inside = await openAsker(host);
    const web = { name: "web", ports: [{ port: 80 }], replicas: ["127.0.0.1:9001"] };
    const config = () => ({ dns: { listen: ["0.0.0.0:53"] }, services: [web] });
    const daemon = daemonFor(t, { name: "host-1", address: "127.0.0.1", config, enter: host.enter });
    await daemon.start();
    // kdig drops an answer that comes from another address than the one it asked, as resolvers do.
    const ask = async (address: string, ...more: string[]): Promise<string> => {
      const asked = ["web.default.skein.internal", "A", "+short", "+retry=0", "+timeout=2", ...more];
      const { stdout } = await host.run(...inside, "kdig", `@${address}`, ...asked);
      return stdout.trim();
    };
    const vip = await until(async () => (await ask(STUB_ADDRESS)) || null);
    assert.match(vip, /^\d+\.\d+\.\d+\.\d+$/);
    assert.equal(await ask(SECOND), vip);
    assert.equal(await ask(SECOND, "+tcp"), vip);
    await host.run("ip", "addr", "add", `${THIRD}/24`, "dev", "eth0");
    assert.equal(await until(async () => (await ask(THIRD)) || null), vip);
  },
);
