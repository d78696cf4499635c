// Real stub resolvers ask a real daemon: what programs make of our answers, whatever they are linked with.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { mustRun } from "../lab/command.ts";
import { until } from "../support/wait.ts";

import {
  addressesOf,
  DOMAIN,
  FOREIGN,
  MANY,
  openServedHost,
  startForeign,
  type ServedHost,
} from "./served-host.ts";
import { stubSkip } from "./stub-host.ts";

const DNSMASQ = { dnsmasq: "dnsmasq-base" };
const MUSL = { "musl-gcc": "musl-tools", gcc: "gcc" };
const GETADDRINFO = fileURLToPath(new URL("getaddrinfo.c", import.meta.url));

/** Where the upstream of the daemon is. */
const UPSTREAM = "127.0.0.2";

/** What a program looked up: addresses, each once, sorted; or null when it was told that there are none. */
type Looked = readonly string[] | null;

/** A program's way to look up a name, by either family unless told. */
type LookUp = (name: string, family?: 4 | 6) => Promise<Looked>;

function sorted(lines: readonly string[]): readonly string[] {
  return [...new Set(lines.filter((line) => line !== ""))].toSorted();
}

const skip = stubSkip(DNSMASQ);

describe("clients", { timeout: 240_000 }, () => {
  let opened: ServedHost | null = null;
  const open = (): ServedHost => {
    assert.ok(opened !== null, "the host is open");
    return opened;
  };
  before(async () => {
    if (skip !== false) return;
    opened = await openServedHost({ dns: { upstream: [UPSTREAM] } });
    await startForeign(opened.host, UPSTREAM);
    if (stubSkip(MUSL) === false) {
      await mustRun(["musl-gcc", "-static", "-o", join(opened.host.folder, "musl"), GETADDRINFO]);
    }
  });

  after(async () => await opened?.close());

  const glibc: LookUp = async (name, family) => {
    const { code, stdout } = await open().host.run(
      "getent",
      `ahosts${family === undefined ? "" : `v${family}`}`,
      name,
    );
    // 2 is "not found"; all else is a failure of getent itself.
    assert.ok(code === 0 || code === 2, `getent ahosts ${name} ended with ${code}: ${stdout}`);
    return code === 0 ? sorted(stdout.split("\n").map((line) => line.split(/\s/)[0] ?? "")) : null;
  };
  const musl: LookUp = async (name, family) => {
    const words = family === undefined ? [name] : [name, String(family)];
    const { code, stdout } = await open().host.run(join(open().host.folder, "musl"), ...words);
    if (code === 0) return sorted(stdout.split("\n"));
    assert.equal(stdout.trim(), "Name does not resolve", `what musl says of ${name}`);
    return null;
  };
  const inNode: LookUp = async (name, family) => {
    const text = `require("node:dns").promises.lookup(process.argv[1], { all: true, family: ${family ?? 0} })
      .then((all) => all.map(({ address }) => address), (error) => {
        if (error.code !== "ENOTFOUND") throw error;
        return null;
      }).then((looked) => console.log(JSON.stringify(looked)))`;
    const looked = JSON.parse(await evaluate(open(), text, name)) as string[] | null;
    return looked === null ? null : sorted(looked);
  };
  const programs: readonly { readonly by: string; readonly lookUp: LookUp; readonly skip: string | false }[] =
    [
      { by: "glibc", lookUp: glibc, skip },
      { by: "musl", lookUp: musl, skip: stubSkip({ ...DNSMASQ, ...MUSL }) },
      { by: "Node", lookUp: inNode, skip },
    ];

  for (const { by, lookUp, skip: why } of programs) {
    test(`clients: ${by} finds a service by each form of its name, in any case`, { skip: why }, async () => {
      open().host.resolver("nameserver 127.0.0.1");
      const [web, api] = [await open().vip("web"), await open().vip("api", "shop")];
      for (const name of [
        "web",
        "web.default",
        `web.default.${DOMAIN}`,
        `WEB.Default.${DOMAIN.toUpperCase()}.`,
      ]) {
        assert.deepEqual(await lookUp(name), [web], name);
      }
      for (const name of ["api", "api.shop", `api.shop.${DOMAIN}.`]) {
        assert.deepEqual(await lookUp(name), [api], name);
      }
      for (const name of ["both", "api.default", `nosuch.${DOMAIN}`, `nosuch.default.${DOMAIN}.`]) {
        assert.equal(await lookUp(name), null, name);
      }
      assert.deepEqual(await lookUp("both.garden"), [await open().vip("both", "garden")]);
    });

    test(`clients: ${by} takes a name with one family for one with addresses`, { skip: why }, async () => {
      open().host.resolver("nameserver 127.0.0.1");
      assert.deepEqual(await lookUp("web"), [await open().vip("web")]);
      assert.deepEqual(await lookUp("web", 4), [await open().vip("web")]);
      assert.deepEqual(await lookUp("tasks.web"), ["127.0.0.1"]);
      assert.deepEqual(await lookUp("tasks.six"), ["::1"]);
      assert.deepEqual(await lookUp("tasks.six", 6), ["::1"]);
      assert.equal(await lookUp("tasks.six", 4), null);
      assert.deepEqual(await lookUp("tasks.dual"), ["127.0.0.1", "::1"]);
    });

    test(`clients: ${by} searches domains of ours and of others, with ndots 5`, { skip: why }, async () => {
      const search = `search corp.test shop.${DOMAIN} default.${DOMAIN} ${DOMAIN} test`;
      for (const options of ["options ndots:1", "options ndots:5"]) {
        open().host.resolver("nameserver 127.0.0.1", search, options);
        const [web, api] = [await open().vip("web"), await open().vip("api", "shop")];
        for (const name of ["web", "web.default", `web.default.${DOMAIN}`, `web.default.${DOMAIN}.`]) {
          assert.deepEqual(await lookUp(name), [web], `${name} with ${options}`);
        }
        assert.deepEqual(await lookUp("api"), [api], options);
        assert.deepEqual(await lookUp("tasks.six"), ["::1"], options);
        assert.deepEqual(await lookUp("host"), [FOREIGN.address], options);
        assert.deepEqual(await lookUp(FOREIGN.name), [FOREIGN.address], options);
        assert.equal(await lookUp("nosuch"), null, options);
      }
    });

    // musl before 1.2.4 never asks over TCP: what the truncated answer holds is all it gets.
    test(
      `clients: ${by} finds all of ${MANY} addresses, or some and later others`,
      { skip: why },
      async () => {
        open().host.resolver("nameserver 127.0.0.1");
        const all = addressesOf("many");
        const found = (await lookUp("tasks.many")) ?? [];
        assert.deepEqual(
          found.filter((address) => !all.includes(address)),
          [],
        );
        if (by !== "musl") return assert.deepEqual(found, all);
        // 512 bytes hold 29; and musl keeps 48 at most, whatever it is told.
        assert.ok(found.length >= 24, `musl was told ${found.length} addresses`);
        const seen = new Set(found);
        const asksAgain = async (): Promise<boolean> => {
          for (const address of (await lookUp("tasks.many")) ?? []) seen.add(address);
          return seen.size >= 40;
        };
        await until(asksAgain, { what: "musl to be told of most addresses" });
      },
    );
  }

  for (const options of [
    "",
    "use-vc",
    "edns0",
    "edns0 trust-ad",
    "use-vc edns0 trust-ad",
    "rotate",
    "single-request",
    "single-request-reopen",
    "ndots:0",
  ]) {
    test(`clients: glibc with options "${options}" is answered at the first attempt`, { skip }, async () => {
      open().host.resolver("nameserver 127.0.0.1", options === "" ? "" : `options ${options}`);
      const vip = await open().vip("web");
      for (const name of ["web", `web.default.${DOMAIN}`]) {
        const before = await open().queries();
        assert.deepEqual(await glibc(name), [vip], name);
        assert.equal((await open().queries()) - before, 2, "one query for A and one for AAAA");
      }
      assert.equal((await glibc("tasks.many"))?.length, MANY);
    });
  }

  test("clients: glibc asks over IPv6 as over IPv4", { skip }, async () => {
    open().host.resolver("nameserver ::1");
    assert.deepEqual(await glibc("web"), [await open().vip("web")]);
    assert.equal((await glibc("tasks.many"))?.length, MANY);
  });

  test(
    "clients: glibc finds the name of a VIP, and none of an address that is nobody's",
    { skip },
    async () => {
      open().host.resolver("nameserver 127.0.0.1");
      const vip = await open().vip("web");
      const named = await open().host.run("getent", "hosts", vip);
      assert.match(
        named.stdout,
        new RegExp(`^${vip.replaceAll(".", "\\.")}\\s+web\\.default\\.${DOMAIN}$`, "m"),
      );
      // The last address of the pool: no service has it.
      assert.equal((await open().host.run("getent", "hosts", "10.111.255.254")).code, 2);
    },
  );

  test("clients: Node's own resolver finds records of each type", { skip }, async () => {
    open().host.resolver("nameserver 127.0.0.1");
    const text = `const { promises: dns } = require("node:dns");
      const told = (asked) => asked.catch((error) => error.code);
      const [vip, domain] = process.argv.slice(1);
      Promise.all([
        dns.resolve4("web"), told(dns.resolve6("web")), dns.resolve6("tasks.six"), told(dns.resolve4("tasks.six")),
        told(dns.resolveMx("web")), told(dns.resolve4("nosuch." + domain)), dns.reverse(vip),
        dns.resolveSrv("_http._tcp.web.default." + domain), dns.resolveSoa(domain), dns.resolveNs(domain),
        dns.resolve4("tasks.many").then((all) => all.length),
      ]).then((all) => console.log(JSON.stringify(all)))`;
    const vip = await open().vip("web");
    const told = JSON.parse(await evaluate(open(), text, vip, DOMAIN)) as unknown[];
    const [a, noAaaa, aaaa, noA, mx, noName, ptr, srv, soa, ns, many] = told;
    assert.deepEqual([a, noAaaa, aaaa, noA], [[vip], "ENODATA", ["::1"], "ENODATA"]);
    assert.deepEqual([mx, noName, ptr, many], ["ENODATA", "ENOTFOUND", [`web.default.${DOMAIN}`], MANY]);
    const targets = (srv as { name: string; port: number; priority: number; weight: number }[])
      .map(({ name, port, priority, weight }) => ({ name, port, priority, weight }))
      .toSorted((one, other) => one.port - other.port);
    assert.deepEqual(targets, [
      { name: `web-1.web.default.${DOMAIN}`, port: 9001, priority: 0, weight: 1 },
      { name: `web-2.web.default.${DOMAIN}`, port: 9002, priority: 0, weight: 1 },
    ]);
    assert.deepEqual(ns, [`host-1.node.${DOMAIN}`]);
    assert.equal((soa as { nsname: string }).nsname, `host-1.node.${DOMAIN}`);
  });

  test(
    "clients: busybox looks up and fetches by name",
    { skip: stubSkip({ ...DNSMASQ, busybox: "busybox-static" }) },
    async () => {
      const { host } = open();
      host.resolver("nameserver 127.0.0.1");
      const vip = await open().vip("web");
      const looked = await host.run("busybox", "nslookup", `web.default.${DOMAIN}`);
      assert.equal(looked.code, 0, looked.stdout + looked.stderr);
      assert.match(looked.stdout, new RegExp(`Name:\\s+web\\.default\\.${DOMAIN}\\nAddress: ${vip}\n`));
      const none = await host.run("busybox", "nslookup", `nosuch.${DOMAIN}`);
      assert.match(none.stdout + none.stderr, /can't find nosuch\.skein\.internal: NXDOMAIN/);
      for (const name of ["web", `web.default.${DOMAIN}`]) {
        const fetched = await host.run("busybox", "wget", "-q", "-O", "-", `http://${name}/`);
        assert.match(fetched.stdout, /^web-[12]\n$/, `wget http://${name}/: ${fetched.stderr}`);
      }
    },
  );

  test("clients: curl fetches by name, and says so where a name has no such family", { skip }, async () => {
    const { host } = open();
    host.resolver("nameserver 127.0.0.1", `search ${DOMAIN}`, "options ndots:5");
    for (const words of [["http://web/"], ["-4", `http://web.default.${DOMAIN}/`], ["http://API.shop/"]]) {
      const { stdout, stderr } = await host.run("curl", "-sS", ...words);
      assert.match(stdout, /^(web-[12]|api-1)\n$/, stderr);
    }
    // curl's 6: the name could not be resolved.
    assert.equal((await host.run("curl", "-sS", "http://nosuch/")).code, 6);
  });
});

/** What a few lines of JavaScript print when Node runs them on the host; they must succeed. */
async function evaluate({ host }: ServedHost, text: string, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await host.run(process.execPath, "--eval", text, "--", ...words);
  assert.equal(code, 0, stderr);
  return stdout;
}
