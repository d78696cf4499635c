// Our daemon among other name servers, and before resolvers that ask for more than addresses.

import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { LAB_PATH } from "../lab/command.ts";
import { findProgram } from "../lab/requirements.ts";
import { until } from "../support/wait.ts";

import {
  addressesOf,
  DOMAIN,
  FOREIGN,
  openServedHost,
  startForeign,
  type ServedHost,
} from "./served-host.ts";
import { stubSkip } from "./stub-host.ts";

/** Where systemd has its own programs, and where those are that were put there alone. */
const RESOLVED = findProgram("systemd-resolved", ["/usr/lib/systemd", "/lib/systemd", ...LAB_PATH]);
/** It listens here, and its user is in no other machine's list. */
const RESOLVED_ADDRESS = "127.0.0.53";
const RESOLVED_USER = 995;
/** The same address and port 53, as /proc/net/udp writes them. */
const RESOLVED_SOCKET = "3500007F:0035";

// All that it reads and writes is its own: nothing of the machine's resolver is touched. $1 folder, $2 program.
const RUN_RESOLVED = `
for name in passwd group; do
  grep -v ^systemd-resolve: /etc/$name >"$1/$name" || true
done
echo "systemd-resolve:x:${RESOLVED_USER}:${RESOLVED_USER}::/:/bin/false" >>"$1/passwd"
echo "systemd-resolve:x:${RESOLVED_USER}:" >>"$1/group"
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mkdir -p "$1/systemd" /etc/systemd
cp "$1/resolved.conf" "$1/systemd/resolved.conf"
mount --bind "$1/systemd" /etc/systemd
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
chown ${RESOLVED_USER}:${RESOLVED_USER} /run/systemd/resolve
SYSTEMD_LOG_TARGET=console exec "$2"`;

const DNSMASQ = { dnsmasq: "dnsmasq-base" };
const KDIG = { kdig: "knot-dnsutils" };
const DIG = { dig: "bind9-dnsutils" };

/** Where another name server is. */
const OTHER = "127.0.0.2";
/** Where one is that says nothing, and where there is none. */
const [SILENT, NOBODY] = ["127.0.0.3", "127.0.0.4"];

const SILENT_SERVER = `require("node:dgram").createSocket("udp4")
  .bind(53, "${SILENT}", () => console.log("listening"))`;

/** Sends a request to the address it is given, each on a connection of its own, until it is told to stop. */
const KEEPER = `const { get } = require("node:http");
  const [name] = process.argv.slice(1);
  let [sent, stopping] = [0, false];
  process.once("SIGTERM", () => (stopping = true));
  const ask = (host) => get({ host, agent: false, timeout: 5000 }, (response) => {
    let text = "";
    response.on("data", (chunk) => (text += chunk));
    response.on("end", () => {
      console.log(response.statusCode === 200 ? "from " + text.trim() : "status " + response.statusCode);
      if (!stopping) setTimeout(ask, 5, host);
    });
  }).on("error", (error) => { console.log("failed: " + error.message); if (!stopping) setTimeout(ask, 5, host); });
  require("node:dns").lookup(name, (error, address) => { if (error) throw error; ask(address); })`;

const skip = stubSkip();

describe("resolvers", { timeout: 240_000 }, () => {
  let opened: ServedHost | null = null;
  const open = (): ServedHost => {
    assert.ok(opened !== null, "the host is open");
    return opened;
  };
  before(async () => {
    if (skip !== false) return;
    opened = await openServedHost();
    const { host } = opened;
    await host.start([process.execPath, "--eval", SILENT_SERVER], "listening");
    if (stubSkip(DNSMASQ) === false) await startForeign(host, OTHER);
  });
  after(async () => await opened?.close());

  const first = async (name: string): Promise<string> => {
    const { stdout } = await open().host.run("getent", "ahostsv4", name);
    return stdout.split(/\s/)[0] ?? "";
  };

  for (const [server, what] of [
    [NOBODY, "an address where there is none"],
    [SILENT, "one that does not answer"],
  ]) {
    test(`resolvers: a second name server after ${what} is one that answers`, { skip }, async () => {
      open().host.resolver(`nameserver ${server}`, "nameserver 127.0.0.1", "options timeout:1");
      assert.equal(await first("web"), await open().vip("web"));
      assert.equal(await first(`api.shop.${DOMAIN}`), await open().vip("api", "shop"));
    });
  }

  test(
    "resolvers: of two addresses of ours each answers, in turn and over either family",
    { skip },
    async () => {
      open().host.resolver("nameserver 127.0.0.1", "nameserver ::1", "options rotate");
      for (let asked = 0; asked < 4; asked += 1) assert.equal(await first("web"), await open().vip("web"));
    },
  );

  test(
    "resolvers: without an upstream a foreign name goes on to the next server, and ours do not",
    { skip: stubSkip(DNSMASQ) },
    async () => {
      open().host.resolver("nameserver 127.0.0.1", `nameserver ${OTHER}`);
      assert.equal(await first(FOREIGN.name), FOREIGN.address);
      assert.equal(await first("web"), await open().vip("web"));
      const before = await open().queries();
      assert.equal(await first(`nosuch.${DOMAIN}`), "");
      assert.equal((await open().queries()) - before, 1, "NXDOMAIN is final");
    },
  );

  for (const over of ["+notcp", "+tcp"]) {
    test(
      `resolvers: systemd-resolved's and validators' questions are answered in order (${over})`,
      { skip: stubSkip(KDIG) },
      async () => {
        open().host.resolver("nameserver 127.0.0.1");
        // A resolver that validates asks for keys and cuts first, and probes what our EDNS can do.
        const asked = async (name: string, type: string): Promise<Kdig> =>
          await kdig(open(), name, type, over, "+dnssec", "+bufsize=65494");
        for (const type of [
          "A",
          "AAAA",
          "DS",
          "DNSKEY",
          "NSEC",
          "SOA",
          "NS",
          "TXT",
          "HTTPS",
          "SVCB",
          "CAA",
          "MX",
        ]) {
          for (const name of [DOMAIN, `default.${DOMAIN}`, `web.default.${DOMAIN}`, "web"]) {
            const told = await asked(name, type);
            const where = `${name} ${type}: ${JSON.stringify(told)}`;
            assert.deepEqual([told.RCODE, told.TC, told.AD, told.AA], [0, 0, 0, 1], where);
            const [opt, ...others] = (told.additionalRRs ?? []).filter((record) => record.TYPEname === "OPT");
            assert.deepEqual([opt?.CLASS, others], [1232, []], `one OPT with our own size: ${where}`);
            if (told.ANCOUNT === 0) assert.ok(hasSoaAround(told, name), where);
          }
        }
        for (const type of ["A", "AAAA", "DS"]) {
          const told = await asked(`nosuch.default.${DOMAIN}`, type);
          assert.deepEqual([told.RCODE, told.NSCOUNT], [3, 1], `NXDOMAIN with SOA for ${type}`);
        }
        for (const [name, type] of [
          [".", "DNSKEY"],
          [".", "NS"],
          ["internal", "DS"],
          ["internal", "SOA"],
        ] as const) {
          assert.equal((await asked(name, type)).RCODE, 5, `${name} ${type} is refused, not left unanswered`);
        }
      },
    );
  }

  for (const dnssec of ["no", "allow-downgrade", "yes"]) {
    const why = skip === false && RESOLVED === null ? "there is no systemd-resolved on this machine" : skip;
    test(`resolvers: glibc asks through systemd-resolved with DNSSEC=${dnssec}`, { skip: why }, async () => {
      const { host } = open();
      const settings = [
        "DNS=127.0.0.1",
        `Domains=${DOMAIN}`,
        `DNSSEC=${dnssec}`,
        "LLMNR=no",
        "MulticastDNS=no",
      ];
      writeFileSync(join(host.folder, "resolved.conf"), `[Resolve]\n${settings.join("\n")}\n`);
      const argv = ["unshare", "--mount", "sh", "-euc", RUN_RESOLVED, "sh", host.folder, RESOLVED ?? ""];
      const resolved = await host.start(argv, "system hostname");
      host.resolver(`nameserver ${RESOLVED_ADDRESS}`, "options edns0 trust-ad", `search ${DOMAIN}`);
      try {
        // Its last line comes before its socket.
        await until(async () => (await host.run("cat", "/proc/net/udp")).stdout.includes(RESOLVED_SOCKET));
        for (const name of ["web", "web.default", `web.default.${DOMAIN}`]) {
          assert.equal(await first(name), await open().vip("web"), name);
        }
        assert.equal(await first(`api.shop.${DOMAIN}`), await open().vip("api", "shop"));
        const crowd = await host.run("getent", "ahosts", `tasks.crowd.default.${DOMAIN}`);
        const told = new Set(crowd.stdout.split("\n").map((line) => line.split(/\s/)[0] ?? ""));
        assert.deepEqual([...told].filter((address) => address !== "").toSorted(), addressesOf("crowd"));
        assert.equal(await first(`nosuch.${DOMAIN}`), "");
        const six = await host.run("getent", "ahosts", `tasks.six.default.${DOMAIN}`);
        assert.match(six.stdout, /^::1 /);
        const vip = await open().vip("web");
        const named = await host.run("getent", "hosts", vip);
        assert.match(named.stdout, new RegExp(`web\\.default\\.${DOMAIN}$`, "m"));
      } finally {
        const exit = once(resolved, "exit");
        resolved.kill("SIGKILL");
        await exit;
      }
    });
  }

  test(
    "resolvers: bad names of addresses are answered sanely (InvalidReverseDNS)",
    { skip: stubSkip(KDIG) },
    async () => {
      open().host.resolver("nameserver 127.0.0.1");
      const vip = reverseOf(await open().vip("web"));
      const apex = vip.split(".").slice(2).join(".");
      // Of our own range: there or not, but never refused or left to others, and the SOA encloses the name.
      for (const [name, rcode] of [
        [apex, 0],
        [vip.toUpperCase(), 0],
        [`1.${vip}`, 3],
        [`256.${apex}`, 3],
        [`x.${apex}`, 3],
        [`a_b.1.${apex}`, 3],
        [`01.1.${apex}`, 3],
        [`254.255.${apex}`, 3],
      ] as const) {
        const told = await kdig(open(), name, "PTR", "+notcp");
        const where = `${name}: ${JSON.stringify(told)}`;
        assert.equal(told.RCODE, rcode, where);
        if (told.ANCOUNT === 0) assert.ok(hasSoaAround(told, name), where);
      }
      // Of nobody's: without an upstream they are refused.
      for (const name of [
        "in-addr.arpa",
        "ip6.arpa",
        "4.3.2.1.in-addr.arpa",
        "x.in-addr.arpa",
        "g.8.b.d.0.ip6.arpa",
      ]) {
        const told = await kdig(open(), name, "PTR", "+notcp");
        assert.deepEqual([told.RCODE, told.ANCOUNT], [5, 0], name);
      }
    },
  );

  for (const service of ["many", "crowd"]) {
    for (const flags of [[], ["+tcp"], ["+bufsize=700"], ["+tcp", "+bufsize=700"], ["+noedns"]]) {
      const how = flags.length === 0 ? "as dig asks" : flags.join(" ");
      const count = addressesOf(service).length;
      test(`resolvers: ${count} A records come whole, ${how}`, { skip: stubSkip(DIG) }, async () => {
        open().host.resolver("nameserver 127.0.0.1");
        const name = `tasks.${service}.default.${DOMAIN}`;
        const { code, stdout } = await open().host.run("dig", "+short", "+norecurse", ...flags, name);
        assert.equal(code, 0, stdout);
        const lines = stdout
          .split("\n")
          .filter((line) => line !== "" && !line.startsWith(";; Truncated, retrying"));
        assert.deepEqual(lines.toSorted(), addressesOf(service));
      });
    }
  }

  test(
    "resolvers: a client that keeps a VIP for good is served while all replicas are replaced",
    { skip },
    async () => {
      const { host } = open();
      host.resolver("nameserver 127.0.0.1");
      const lines: string[] = [];
      const keeper = await host.start([process.execPath, "--eval", KEEPER, "--", "web"], "from web-");
      keeper.stdout?.on("data", (chunk: Buffer) => lines.push(...chunk.toString().trim().split("\n")));
      /** Waits until it has been served a hundred times more, by exactly these replicas. */
      const untilFrom = async (...names: readonly string[]): Promise<void> => {
        const wanted = names.map((name) => `from ${name}`).join();
        const isSo = (): boolean => [...new Set(lines.slice(-100))].toSorted().join() === wanted;
        await until(isSo, { what: `it is served by ${names.join(" and ")} alone` });
      };
      await untilFrom("web-1", "web-2");
      const others = [await open().runReplica("web-3", 9013), await open().runReplica("web-4", 9014)];
      await open().serveWeb(9001, 9002, 9013, 9014);
      await untilFrom("web-1", "web-2", "web-3", "web-4");
      await open().serveWeb(9013, 9014);
      await untilFrom("web-3", "web-4");
      await open().serveWeb(9001, 9002, 9013, 9014);
      await untilFrom("web-1", "web-2", "web-3", "web-4");
      // Killed, not stopped: nobody was told before.
      for (const replica of others) replica.kill("SIGKILL");
      await untilFrom("web-1", "web-2");
      keeper.kill("SIGTERM");
      assert.deepEqual(
        lines.filter((line) => !line.startsWith("from web-")),
        [],
      );
    },
  );
});

/** True when there is one SOA, and its owner is the name or encloses it (RFC 2308 3). */
function hasSoaAround({ authorityRRs = [] }: Kdig, name: string): boolean {
  const [soa, ...others] = authorityRRs;
  return soa?.TYPEname === "SOA" && others.length === 0 && `.${name}.`.toLowerCase().endsWith(`.${soa.NAME}`);
}

function reverseOf(address: string): string {
  return `${address.split(".").toReversed().join(".")}.in-addr.arpa`;
}

/** What kdig tells of an answer as JSON (RFC 8427); only what tests ask for. */
interface Kdig {
  readonly RCODE: number;
  readonly AA: number;
  readonly TC: number;
  readonly AD: number;
  readonly ANCOUNT: number;
  readonly NSCOUNT: number;
  readonly authorityRRs?: readonly KdigRecord[];
  readonly additionalRRs?: readonly KdigRecord[];
}

interface KdigRecord {
  readonly NAME: string;
  readonly TYPEname: string;
  readonly CLASS: number;
}

async function kdig(
  { host }: ServedHost,
  name: string,
  type: string,
  ...flags: readonly string[]
): Promise<Kdig> {
  const { stdout, stderr } = await host.run("kdig", "+json", ...flags, "-q", name, "-t", type);
  assert.equal(stderr, "", `kdig ${flags.join(" ")} ${name} ${type}`);
  return JSON.parse(stdout) as Kdig;
}
