// A host's own resolver changes while the daemon runs: foreign names follow it, and never fail because of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { daemonFor } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import { openStubHost, stubSkip } from "./stub-host.ts";

const skip = stubSkip({ dnsmasq: "dnsmasq-base", dig: "bind9-dnsutils" });

test(
  "resolver: upstreams follow the host's resolv.conf, and stay when it names nobody else",
  { skip },
  async (t) => {
    const host = await openStubHost(t);
    /** A name server on port 53 of a loopback address; it tells its own address as that of `which.test`. */
    const runUpstream = async (address: string): Promise<void> => {
      const where = [`--listen-address=${address}`, "--bind-interfaces", "--no-resolv", "--no-hosts"];
      const names = ["--address=/#/", `--host-record=which.test,${address},60`];
      const quiet = ["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="];
      await host.start(["dnsmasq", ...where, ...names, ...quiet], "started");
    };
    await Promise.all([runUpstream("127.0.0.2"), runUpstream("127.0.0.3")]);
    host.resolver("nameserver 127.0.0.2");
    const daemon = daemonFor(t, {
      name: "host-1",
      address: "127.0.0.1",
      vipPool: "10.96.0.0/12",
      enter: host.enter,
      config: () => ({
        dns: { listen: ["127.0.0.1:53"], upstream: "auto" },
        vip: { pool: "10.96.0.0/12", listen: true },
      }),
    });
    await daemon.start();
    const which = async (): Promise<string> => {
      const asked = ["dig", "@127.0.0.1", "which.test", "A", "+short", "+tries=1", "+timeout=5"];
      return (await host.run(...asked)).stdout.trim();
    };
    const chosen = async (): Promise<string> => {
      const status = (await daemon.get("/api/v1/status")) as {
        readonly choices: readonly { readonly key: string; readonly value: string }[];
      };
      return status.choices.flatMap(({ key, value }) => (key === "dns.upstream" ? [value] : [])).join(" | ");
    };
    assert.equal(await which(), "127.0.0.2");
    assert.equal(await chosen(), "127.0.0.2:53");

    host.resolver("search corp.test", "nameserver 127.0.0.3");
    // What the old server said is not told any more, though it holds for a minute.
    await until(async () => (await which()) === "127.0.0.3");
    assert.equal(await chosen(), "127.0.0.3:53");

    // The host asks us now; who we asked until then is asked on.
    const warned = /names no other server/;
    host.resolver("nameserver 127.0.0.1");
    await until(() => warned.test(daemon.log()));
    assert.equal(await which(), "127.0.0.3");
    const named = await host.run("getent", "ahostsv4", "which.test");
    assert.match(named.stdout, /^127\.0\.0\.3\s/, "the host's programs find foreign names through us");
  },
);
