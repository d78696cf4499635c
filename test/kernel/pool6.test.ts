// The pools of VIPs on a real kernel: this file runs itself again in a network of its own, which ends with it.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { test } from "node:test";

import { parsePrefix } from "../../src/base/ip.ts";
import { parsePrefix6, type Prefix6 } from "../../src/base/ip6.ts";
import { openVipPool, removePoolRoutes } from "../../src/kernel/pool.ts";
import { clusterPool, openVipPool6, type Pool6Given, type VipPool6 } from "../../src/kernel/pool6.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { vip6Of } from "../../src/model/vip6.ts";
import { run } from "../../src/runtime/exec.ts";
import { frontend, pool, startProxy, table, upstream } from "../proxy/fixtures.ts";
import { openTcpServer } from "../support/tcp.ts";

const DEADLINE = { deadlineMs: 30_000 };
const INSIDE = "SKEIN_TEST_APART";
const GIVEN: Pool6Given = { setting: "auto", clusterId: "a-cluster", listens: true };
const NEVER = { mayRelease: false };
const EAGER = { mayRelease: true };

function read(text: string): Prefix6 {
  const parsed = parsePrefix6(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

async function ip(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run("ip", args, DEADLINE);
  assert.equal(status, 0, `ip ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** All that a pool may have made. */
async function made(): Promise<string> {
  const routes = await Promise.all([
    ip("-4", "route", "show", "table", "local"),
    ip("-6", "route", "show", "table", "local"),
  ]);
  return [...routes, await ip("-6", "-oneline", "address", "show", "dev", "lo")].join("\n");
}

const addressesOf = async (): Promise<readonly string[]> =>
  Array.from(
    (await made()).matchAll(/inet6 ([0-9a-f:]+)\/128 scope global/g),
    ([, one = ""]) => one,
  ).toSorted();

function vips(count: number, of: VipPool6): readonly string[] {
  const { rule } = of;
  assert.ok(rule);
  return Array.from({ length: count }, (_, at) => vip6Of(rule.pool, "app", `s-${at}`)).toSorted();
}

function defineTests(): void {
  test("pool6: a host without IPv6 VIPs stays as it is; the first one brings the route of all", async () => {
    const before = await made();
    const pool6 = await openVipPool6(GIVEN);
    assert.equal(pool6.rule?.pool.text, clusterPool("a-cluster").text);
    assert.equal(pool6.rule.isEvery, false);
    await pool6.hold(["::1", "fd99::1"], EAGER);
    assert.equal(await made(), before);
    const all = vips(3, pool6);
    await pool6.hold(["::1", ...all], NEVER);
    assert.deepEqual(await addressesOf(), all);
    assert.match(await made(), new RegExp(`local ${clusterPool("a-cluster").text} dev lo`));
    assert.deepEqual(await pool6.remove(), []);
    assert.equal(await made(), before);
    assert.deepEqual(await pool6.remove(), [], "gone already is no failure");
  });

  test("pool6: addresses stay while the picture is incomplete, and a good many of them after that", async () => {
    const pool6 = await openVipPool6(GIVEN);
    const all = vips(LIMITS.vip6Spare + 10, pool6);
    await pool6.hold(all, EAGER);
    assert.deepEqual(await addressesOf(), all);
    await pool6.hold([], NEVER);
    assert.deepEqual(await addressesOf(), all);
    await pool6.hold([], EAGER);
    assert.equal((await addressesOf()).length, LIMITS.vip6Spare);
    await pool6.hold(all, EAGER);
    assert.deepEqual(await addressesOf(), all);
    await pool6.remove();
  });

  test("pool6: what an earlier life of the daemon left is taken over, and a purge finds it by itself", async () => {
    const before = await made();
    const [first, second] = [await openVipPool6(GIVEN), await openVipPool6(GIVEN)];
    const all = vips(2, first);
    await first.hold(all, EAGER);
    await second.hold(all, EAGER);
    assert.deepEqual(await addressesOf(), all);
    await ip("-6", "address", "add", "fd55::1/128", "dev", "lo", "nodad");
    assert.deepEqual(await removePoolRoutes(["10.96.0.0/12"]), []);
    assert.deepEqual(await addressesOf(), ["fd55::1"], "somebody else's stays");
    await ip("-6", "address", "del", "fd55::1/128", "dev", "lo");
    assert.equal(await made(), before);
  });

  test("pool6: a configured pool is for all services; off, or where another daemon listens, none is made", async () => {
    const setting = read("fd12:3456:789a::/64");
    const own = await openVipPool6({ ...GIVEN, setting });
    assert.deepEqual([own.rule?.pool.text, own.rule?.isEvery, own.problem], [setting.text, true, null]);
    assert.equal((await openVipPool6({ ...GIVEN, setting: "off" })).rule, null);
    assert.equal((await openVipPool6({ ...GIVEN, listens: false })).rule, null);
    const beside = await openVipPool6({ ...GIVEN, setting, listens: false });
    await beside.hold(vips(1, beside), EAGER);
    assert.deepEqual(await addressesOf(), [], "it tells of them, and leaves them to the other");
  });

  test("pool6: a host whose IPv6 is off has no IPv6 VIPs, and says so where they were asked for", async () => {
    await run("sysctl", ["-w", "net.ipv6.conf.lo.disable_ipv6=1"], DEADLINE);
    const auto = await openVipPool6(GIVEN);
    assert.deepEqual([auto.rule, auto.problem], [null, null]);
    assert.match(auto.reason, /disable_ipv6/);
    const asked = await openVipPool6({ ...GIVEN, setting: read("fd12::/64") });
    assert.match(asked.problem ?? "", /^vip.pool6 is fd12::\/64, but there is no IPv6/);
    await run("sysctl", ["-w", "net.ipv6.conf.lo.disable_ipv6=0"], DEADLINE);
  });

  test("pool6: a service is reached at its IPv6 VIP, over TCP and UDP, whatever family its replica has", async (t) => {
    const pool6 = await openVipPool6(GIVEN);
    const [vip = ""] = vips(1, pool6);
    const { proxy } = await startProxy(t, { hold: (...args) => pool6.hold(...args) });
    const echo = await openTcpServer(t, (socket) => void socket.pipe(socket));
    const to = pool([upstream("a", echo.port)]);
    const udp = createSocket("udp4").bind(0, "127.0.0.1");
    await once(udp, "listening");
    t.after(() => udp.close());
    udp.on("message", (text, from) => udp.send(text, from.port, from.address));
    const far = pool([upstream("u", udp.address().port)]);
    const at = { origin: "vip", address: vip } as const;
    const failures = await proxy.set(
      table([frontend("tcp", to, { ...at, port: 80 }), frontend("udp", far, { ...at, port: 53 })]),
    );
    assert.deepEqual(failures, []);
    const socket = connect(80, vip);
    socket.write("over six");
    const [answer] = (await once(socket, "data")) as [Buffer];
    assert.equal(answer.toString(), "over six");
    socket.destroy();
    const client = createSocket("udp6");
    t.after(() => client.close());
    client.send("a datagram", 53, vip);
    const [reply] = (await once(client, "message")) as [Buffer];
    assert.equal(reply.toString(), "a datagram");
    await proxy.close(0);
    await pool6.remove();
  });

  test("ingress: a port published at :: is reached over both families, beside VIPs on the same port", async (t) => {
    const pool6 = await openVipPool6(GIVEN);
    const [vip = ""] = vips(1, pool6);
    const { proxy } = await startProxy(t, { hold: (...args) => pool6.hold(...args) });
    const server = createServer((request, response) => response.end(request.headers["x-forwarded-for"]));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const to = pool([upstream("a", (server.address() as AddressInfo).port)]);
    const at = (address: string) => frontend("http", to, { address, port: 80 });
    assert.deepEqual(await proxy.set(table(["::", "127.96.0.5", vip].map(at))), []);
    for (const host of ["127.0.0.1", "[::1]", "127.96.0.5", `[${vip}]`]) {
      const answer = await fetch(`http://${host}/`, { headers: { connection: "close" } });
      // A process of the host comes from the address that it goes to, or all of 127/8 from one.
      const from = host.startsWith("127.") ? "127.0.0.1" : host.slice(1, -1);
      assert.equal(await answer.text(), from, host);
    }
    await proxy.close(0);
    await pool6.remove();
  });

  test("pool: the route of IPv4 VIPs is added, found again, and taken away", async () => {
    const before = await made();
    const parsed = parsePrefix("10.96.0.0/12");
    assert.ok(parsed.ok);
    const first = await openVipPool(parsed.value, true);
    const second = await openVipPool(parsed.value, true);
    assert.deepEqual([first.problem, second.problem], [null, null]);
    assert.match(await made(), /local 10\.96\.0\.0\/12 dev lo/);
    assert.deepEqual(await second.remove(), []);
    assert.deepEqual(await first.remove(), [], "gone already is no failure");
    assert.equal(await made(), before);
    const automatic = await openVipPool(null, true);
    assert.equal(automatic.pool.text, "10.96.0.0/12");
    await automatic.remove();
  });

  test("pool: the range of an earlier life goes when another is configured, and with a clean-up", async () => {
    const before = await made();
    const [old, next] = ["10.112.0.0/16", "10.113.0.0/16"].map((text) => parsePrefix(text));
    assert.ok(old?.ok === true && next?.ok === true);
    await openVipPool(old.value, true);
    await openVipPool(next.value, true);
    const routes = await made();
    assert.match(routes, /local 10\.113\.0\.0\/16 dev lo/);
    assert.doesNotMatch(routes, /10\.112\.0\.0/);
    assert.deepEqual(await removePoolRoutes(["10.96.0.0/12"]), [], "whatever is configured by then");
    assert.equal(await made(), before);
  });

  test("pool: a route of the host's owner to another range is left alone", async () => {
    await ip("route", "add", "local", "10.120.0.0/16", "dev", "lo");
    const opened = await openVipPool(null, true);
    await opened.remove();
    assert.match(await made(), /local 10\.120\.0\.0\/16 dev lo/);
    await ip("route", "del", "local", "10.120.0.0/16", "dev", "lo");
  });
}

async function whyNot(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "a network of one's own needs root";
  for (const program of ["ip", "unshare", "sysctl"]) {
    const found = await run("sh", ["-c", 'command -v "$1"', "sh", program], DEADLINE);
    if (found.status !== 0) return `the program ${program} is not here`;
  }
  return false;
}

if (process.env[INSIDE] === "1") defineTests();
else {
  test("pools: VIPs of both families come and go with the daemon", { skip: await whyNot() }, async () => {
    const prepare = `ip link set lo up && unset NODE_TEST_CONTEXT && ${INSIDE}=1 exec "$@"`;
    const inside = ["sh", "-c", prepare, "sh", process.execPath, import.meta.filename];
    const { status, stdout, stderr } = await run("unshare", ["--net", ...inside], DEADLINE);
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  });
}
