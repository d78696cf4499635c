// Rules with real packets: a host with containers on an overlay network, on an ordinary bridge, and a LAN.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { KernelGiven } from "../../../src/kernel/given.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import { DEFAULT_TRAFFIC } from "../../../src/model/service.ts";
import type { Service } from "../../../src/model/view.ts";

import { whyNotApart } from "../../support/apart.ts";
import { until } from "../../support/wait.ts";
import { given, member, network, onOverlay, replica, service } from "./fixtures.ts";
import { Host } from "./hosts.ts";

const skip = await whyNotApart(["nft", "conntrack"]);

const POOL6 = "fd12:3456:789a::/64";
const RANGE6 = "fd12:3456:789a:10a0::/64";
const APP = withSix(network("app"));
const PORTS = [
  { name: "web", port: 80, target: 8080, protocol: "tcp" as const },
  { name: "echo", port: 80, target: 8080, protocol: "udp" as const },
];
const VIP = { address: "10.96.0.1", port: 80 };

function withSix(plain: ReturnType<typeof network>): ReturnType<typeof network> {
  const slices = plain.slices.map((slice) => ({
    ...slice,
    prefix6: `fd12:3456:789a:10a0:${slice.index}::/80`,
  }));
  return { ...plain, range6: RANGE6, slices };
}

/** Two containers on network app, of which host 1 has the slice 10.160.1.0/24. */
function web(changes: Partial<Service> = {}): Service {
  const replicas = [2, 3].map((last) =>
    onOverlay(1, last, { ports: PORTS, address6: `fd12:3456:789a:10a0:1::${last}` }),
  );
  return service("web", { network: "app", ports: PORTS, replicas, vip6: "fd12:3456:789a::5", ...changes });
}

async function apply(
  host: Host,
  services: readonly Service[],
  changes: Partial<KernelGiven> = {},
): Promise<void> {
  const bridges = [
    {
      network: "app",
      device: "sk-app",
      prefix: "10.160.1.0/24",
      gateway: "10.160.1.1",
      prefix6: "fd12:3456:789a:10a0:1::/80",
      gateway6: "fd12:3456:789a:10a0:1::1",
    },
  ];
  const all = given({ services, networks: [APP] }, { bridges, pool6: POOL6, ...changes });
  const { problems } = await host.rules.apply(planRules(all, 0), { mayRemove: true });
  assert.deepEqual(problems, []);
  await host.flows.idle();
}

function counted(answers: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  return counts;
}

test("packets", { skip }, async (t) => {
  const host = await Host.open(t);
  for (const place of ["app2", "app3", "plain2", "plain3"] as const) await host.serve(place, 8080);
  // Stands for the proxy: whatever no rule leads elsewhere arrives at the host itself.
  await host.serve("host", 80, "proxy");

  await t.test("a VIP leads to its replicas in turn, exactly, over TCP, UDP and IPv6", async () => {
    await apply(host, [web()]);
    for (const protocol of ["tcp", "udp"] as const) {
      for (const address of [VIP.address, "fd12:3456:789a::5"]) {
        const answers = await host.ask("host", { protocol, address, port: 80 }, 12);
        const names = answers.map((answer) => answer.split(" ")[0] ?? "");
        assert.deepEqual(counted(names), { app2: 6, app3: 6 }, `${protocol} ${address}`);
      }
    }
  });

  await t.test("what was led on is counted, whatever changes; what the proxy got is not", async () => {
    const countOf = async (): Promise<number | undefined> => (await host.counters()).get("led-app/web");
    await apply(host, [web()]);
    const before = (await countOf()) ?? 0;
    await host.ask("host", VIP, 5);
    assert.equal(await countOf(), before + 5);
    const sticky = { ...DEFAULT_TRAFFIC, balance: "source-hash" as const };
    await apply(host, [web({ traffic: sticky })]);
    await host.ask("host", VIP, 3);
    assert.equal(await countOf(), before + 8, "its chain is another one by now");
    const own = await host.ask("app2", VIP, 10);
    const led = own.filter((answer) => !answer.startsWith("proxy")).length;
    assert.equal(await countOf(), before + 8 + led);
  });

  for (const isFiltered of [false, true]) {
    const how = isFiltered ? "with bridges filtered" : "with bridges not filtered";
    await t.test(`neighbours on a bridge and a replica's own calls never wait, ${how}`, async (context) => {
      if (!(await host.filterBridges(isFiltered))) {
        context.skip("this kernel does not filter bridges");
        return;
      }
      await apply(host, [web()]);
      const names = (await host.ask("app2", VIP, 20)).map((answer) => answer.split(" ")[0] ?? "");
      assert.deepEqual(counted(names), { app3: 10, proxy: 10 }, "its own turns are taken by the proxy");
      const replicas = [2, 3].map((last) =>
        replica(`p${last}`, { address: `172.30.0.${last}`, ports: PORTS }),
      );
      await apply(host, [service("web", { ports: PORTS, replicas })]);
      const plain = (await host.ask("plain2", VIP, 4)).map((answer) => answer.split(" ")[0] ?? "");
      assert.deepEqual(counted(plain), { plain3: 2, proxy: 2 });
      const across = await host.ask("app2", VIP, 2);
      assert.deepEqual(counted(across), { "plain2 10.160.1.2": 1, "plain3 10.160.1.2": 1 });
    });
  }

  await t.test("a published port keeps the client's address, in both families", async () => {
    const publish = [{ published: 8088, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
    await apply(host, [web({ publish })], { listening: new Set(["8088/tcp"]), ingressAddress: "::" });
    const four = await host.ask("lan", { address: "198.51.100.1", port: 8088 }, 2);
    assert.deepEqual(counted(four), { "app2 198.51.100.2": 1, "app3 198.51.100.2": 1 });
    const six = await host.ask("lan", { address: "2001:db8::1", port: 8088 }, 2);
    assert.deepEqual(counted(six), { "app2 2001:db8::2": 1, "app3 2001:db8::2": 1 });
    assert.deepEqual(await host.ask("lan", { address: "198.51.100.1", port: 8089 }), ["ECONNREFUSED"]);
  });

  await t.test("a service of source masquerade shows its replicas the host's address", async () => {
    const publish = [{ published: 8088, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
    const traffic = { ...DEFAULT_TRAFFIC, source: "masquerade" as const };
    await apply(host, [web({ publish, traffic })], { listening: new Set(["8088/tcp"]) });
    const answers = await host.ask("lan", { address: "198.51.100.1", port: 8088 }, 2);
    assert.deepEqual(counted(answers), { "app2 10.160.1.1": 1, "app3 10.160.1.1": 1 });
  });

  await t.test("by source-hash a client stays with one replica", async () => {
    await apply(host, [web({ traffic: { ...DEFAULT_TRAFFIC, balance: "source-hash" } })]);
    const answers = await host.ask("app2", VIP, 8);
    assert.equal(new Set(answers).size, 1);
  });

  await t.test("the share of a doubtful upstream arrives at the proxy", async () => {
    await apply(host, [web()], { ejected: new Set(["r1-2:8080"]) });
    const names = (await host.ask("host", VIP, 12)).map((answer) => answer.split(" ")[0] ?? "");
    assert.deepEqual(counted(names), { app3: 6, proxy: 6 });
  });

  await t.test("who was led to a replica that is gone is not refused, but led to another", async () => {
    const publish = [{ published: 8088, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
    const open = { listening: new Set(["8088/tcp"]) };
    await apply(host, [web({ publish, replicas: [onOverlay(1, 9, { ports: PORTS })] })], open);
    const asked = host.ask("lan", { address: "198.51.100.1", port: 8088 });
    const isGone = async (): Promise<boolean> =>
      (await host.in("host", "ip", "neigh", "show", "10.160.1.9")).stdout.includes("FAILED");
    await until(isGone, { what: "nobody has the address", deadlineMs: 10_000 });
    await apply(host, [web({ publish })], open);
    assert.match((await asked)[0] ?? "", /^app[23] 198\.51\.100\.2$/);
  });

  await t.test("a VIP of an overlay network is for those who are on it", async () => {
    await apply(host, [web()]);
    assert.deepEqual(await host.ask("plain2", { ...VIP, isSilent: true }), ["silence"]);
    assert.deepEqual(
      await host.ask("plain2", { ...VIP, port: 81, isSilent: true }),
      ["silence"],
      "nor what falls to the proxy",
    );
    await apply(host, [web()], { guests: [{ address: "172.30.0.2", network: "app" }] });
    assert.match((await host.ask("plain2", VIP))[0] ?? "", /^app\d 172\.30\.0\.2$/);
    assert.deepEqual(await host.ask("plain3", { ...VIP, isSilent: true }), ["silence"]);
    const seen = async (): Promise<number> => {
      const listed = await host.in("host", "conntrack", "-L", "-p", "udp", "-s", "172.30.0.2");
      return listed.stdout.split("\n").filter((line) => line.startsWith("udp")).length;
    };
    const loose = ["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.v-lan.rp_filter=0"];
    await host.in("host", "sysctl", "-qw", ...loose);
    await host.in("lan", "ip", "addr", "add", "172.30.0.2/32", "dev", "lo");
    await host.in("lan", "ip", "route", "add", VIP.address, "via", "198.51.100.1", "src", "172.30.0.2");
    await host.in("lan", "bash", "-c", `echo x > /dev/udp/${VIP.address}/80`);
    await host.in("lan", "ip", "addr", "del", "172.30.0.2/32", "dev", "lo");
    assert.equal(await seen(), 0, "a guest's address from elsewhere is not the guest");
  });

  await t.test("into an overlay network comes only what was led there", async () => {
    assert.deepEqual(await host.ask("plain2", { address: "10.160.1.2", port: 8080, isSilent: true }), [
      "silence",
    ]);
    assert.deepEqual(await host.ask("lan", { address: "10.160.1.2", port: 8080, isSilent: true }), [
      "silence",
    ]);
    assert.match((await host.ask("app3", { address: "10.160.1.2", port: 8080 }))[0] ?? "", /^app2 /);
  });

  await t.test(
    "a UDP client that keeps its port moves on when its upstream goes or becomes doubtful",
    async () => {
      await apply(host, [web()]);
      const ask = { protocol: "udp", ownPort: 40_000, ...VIP } as const;
      const [before = ""] = await host.ask("host", ask);
      const last = before.startsWith("app2") ? 2 : 3;
      assert.deepEqual(new Set(await host.ask("host", ask, 3)), new Set([before]));
      await apply(host, [web({ replicas: web().replicas.filter(({ id }) => id !== `r1-${last}`) })]);
      const [after = ""] = await host.ask("host", ask);
      assert.equal(after.split(" ")[0], `app${last === 2 ? 3 : 2}`);
      await apply(host, [web()], { ejected: new Set(["r1-2:8080/udp", "r1-3:8080/udp"]) });
      const [doubtful = ""] = await host.ask("host", ask);
      assert.equal(doubtful.split(" ")[0], "proxy");
    },
  );

  await t.test("questions for names go to the daemon, whomever they are asked", async () => {
    await host.serve("host", 53, "dns");
    await apply(host, [web()], {
      askers: [
        { kind: "bridge", device: "sk-app", to: "10.160.1.1:53", to6: "[fd12:3456:789a:10a0:1::1]:53" },
        { kind: "address", address: "172.30.0.2", to: "172.30.0.1:53" },
      ],
    });
    for (const protocol of ["tcp", "udp"] as const) {
      const question = { protocol, address: "198.51.100.2", port: 53 };
      assert.deepEqual(await host.ask("app2", question), ["dns 10.160.1.2"]);
      assert.deepEqual(await host.ask("plain2", question), ["dns 172.30.0.2"]);
      const other = await host.ask("plain3", { ...question, isSilent: true });
      assert.doesNotMatch(other[0] ?? "", /^dns /);
      const six = { protocol, address: "2001:db8::2", port: 53 };
      assert.deepEqual(await host.ask("app2", six), ["dns fd12:3456:789a:10a0:1::2"]);
    }
    await host.serve("lan", 53, "theirs");
    await host.rules.freeQuestions();
    for (const protocol of ["tcp", "udp"] as const) {
      const question = { protocol, address: "198.51.100.2", port: 53 };
      for (const place of ["app2", "plain2"] as const)
        assert.match((await host.ask(place, question))[0] ?? "", /^theirs /, "asked as if we were not here");
    }
    assert.match((await host.ask("host", VIP))[0] ?? "", /^app\d /, "all else goes on");
  });

  await t.test("a network that is not carried keeps its bridge, its VIPs and the world", async () => {
    await host.serve("lan", 9001);
    await apply(host, [web()], { broken: new Set(["app"]) });
    assert.match((await host.ask("app2", { address: "10.160.1.3", port: 8080 }))[0] ?? "", /^app3 /);
    const names = (await host.ask("app2", VIP, 4)).map((answer) => answer.split(" ")[0] ?? "");
    assert.deepEqual(counted(names), { app3: 2, proxy: 2 });
    assert.deepEqual(await host.ask("app2", { address: "198.51.100.2", port: 9001 }), ["lan 198.51.100.1"]);
    assert.deepEqual(await host.ask("plain2", { ...VIP, isSilent: true }), ["silence"]);
  });

  await t.test(
    "where the host does not forward, what comes from elsewhere arrives at the proxy",
    async () => {
      await host.serve("host", 8090, "proxy");
      const publish = [{ published: 8090, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
      const changes = { listening: new Set(["8090/tcp"]), ingressAddress: "::" } as const;
      await host.in("host", "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0");
      const all = given(
        { services: [web({ publish })], networks: [APP] },
        { pool6: POOL6, ...changes, forwards: { v4: false, v6: false } },
      );
      const { problems } = await host.rules.apply(planRules(all, 0), { mayRemove: true });
      assert.equal(problems.length, 2);
      assert.deepEqual(await host.ask("lan", { address: "198.51.100.1", port: 8090 }), [
        "proxy 198.51.100.2",
      ]);
      assert.deepEqual(await host.ask("lan", { address: "2001:db8::1", port: 8090 }), ["proxy 2001:db8::2"]);
      assert.deepEqual(await host.ask("app2", VIP), ["proxy 10.160.1.2"]);
      const own = (await host.ask("host", VIP, 4)).map((answer) => answer.split(" ")[0] ?? "");
      assert.deepEqual(counted(own), { app2: 2, app3: 2 }, "what the host itself asks is led on");
      await host.in("host", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    },
  );

  await t.test("the flows of all UDP upstreams that go are forgotten, however many", async () => {
    const replicas = Array.from({ length: 200 }, (_, at) =>
      replica(`u${at}`, { address: `172.30.0.${at + 20}`, ports: PORTS }),
    );
    await apply(host, [service("web", { ports: PORTS, replicas })]);
    const send = `for n in $(seq 200); do echo x > /dev/udp/${VIP.address}/80; done`;
    await host.in("host", "bash", "-c", send);
    const led = async (): Promise<number> => {
      const { stdout } = await host.in("host", "conntrack", "-L", "-p", "udp", "-d", VIP.address);
      return stdout.split("\n").filter((line) => line.includes("src=172.30.0.")).length;
    };
    assert.ok((await led()) > 150, "but those that had the same port by chance");
    await apply(host, []);
    assert.equal(await led(), 0);
  });

  await t.test(
    "containers of an overlay network go out into the world under the host's address",
    async () => {
      await host.serve("lan", 9000);
      assert.deepEqual(await host.ask("app2", { address: "198.51.100.2", port: 9000 }), ["lan 198.51.100.1"]);
    },
  );

  await t.test("a host that is led back to a container of its own sees the answer", async () => {
    // By another way than it came, as through a tunnel.
    await host.join("lan", "tun", "192.0.2.1/30", "192.0.2.2/30");
    await host.in("lan", "ip", "addr", "add", "10.160.2.9/32", "dev", "lo");
    await host.in("host", "ip", "route", "add", "10.160.2.0/24", "via", "192.0.2.2");
    await host.serve("lan", 8080);
    const publish = [{ published: 8088, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
    const members = [member(1), member(2, { overlay: { address: "198.51.100.2", mtu: 1500 } })];
    const services = [web({ publish, replicas: [onOverlay(2, 9, { ports: PORTS })] })];
    const all = given({ services, networks: [APP], members }, { listening: new Set(["8088/tcp"]) });
    await host.rules.apply(planRules(all, 0), { mayRemove: true });
    assert.deepEqual(await host.ask("lan", { address: "198.51.100.1", port: 8088 }), ["lan 192.0.2.1"]);
  });

  await t.test("and so by IPv6, from the address by which the others reach it", async () => {
    const address6 = "fd12:3456:789a:10a0:2::9";
    await host.join("lan", "tun6", "2001:db8:1::1/64", "2001:db8:1::2/64");
    await host.in("lan", "ip", "addr", "add", `${address6}/128`, "dev", "lo");
    await host.in("host", "ip", "-6", "route", "add", "fd12:3456:789a:10a0:2::/80", "via", "2001:db8:1::2");
    const publish = [{ published: 8088, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
    const overlay = { address: "198.51.100.2", mtu: 1500 };
    const members = [member(1), member(2, { overlay, host: "2001:db8::2" })];
    const services = [web({ publish, replicas: [onOverlay(2, 9, { ports: PORTS, address6 })] })];
    const changes = { listening: new Set(["8088/tcp"]), ingressAddress: "::", pool6: POOL6 } as const;
    const all = given({ services, networks: [APP], members }, changes);
    await host.rules.apply(planRules(all, 0), { mayRemove: true });
    assert.deepEqual(await host.ask("lan", { address: "2001:db8::1", port: 8088 }), ["lan 2001:db8:1::1"]);
  });

  await t.test("a container of an overlay network reaches what Docker publishes on its host", async () => {
    await apply(host, [web()]);
    const docker = [
      "add table ip docker",
      "add chain ip docker nat { type nat hook prerouting priority -100; }",
      "add rule ip docker nat fib daddr type local tcp dport 9999 dnat to 172.30.0.2:8080",
      "add chain ip docker forward { type filter hook forward priority 0; }",
      "add rule ip docker forward meta mark & 0xff000000 != 0x53000000 iifname sk-app oifname br-plain drop",
      "add rule ip docker forward meta mark & 0xff000000 != 0x53000000 iifname br-plain oifname sk-app drop",
    ];
    await host.in("host", "nft", docker.join("; "));
    assert.match((await host.ask("app2", { address: "198.51.100.1", port: 9999 }))[0] ?? "", /^plain2 /);
    const direct = { address: "172.30.0.2", port: 8080, isSilent: true };
    assert.deepEqual(await host.ask("app2", direct), ["silence"], "Docker's own isolation stands");
    await host.in("host", "nft", "delete table ip docker");
  });

  await t.test("Docker's own ports do not take what comes for a VIP", async () => {
    const docker = [
      "add table ip docker",
      "add chain ip docker nat { type nat hook prerouting priority -100; }",
      "add rule ip docker nat fib daddr type local tcp dport 80 dnat to 172.30.0.3:8080",
    ];
    await host.in("host", "nft", docker.join("; "));
    await apply(host, [service("web", { replicas: [] })]);
    assert.deepEqual(await host.ask("plain2", VIP), ["proxy 172.30.0.2"]);
    await host.in("host", "nft", "delete table ip docker");
  });

  await t.test("a static upstream on the LAN answers through this host", async () => {
    const outside = replica("s", {
      address: "198.51.100.2",
      local: false,
      reach: "direct",
      ports: [{ name: "web", port: 80, target: 9000, protocol: "tcp" }],
    });
    await apply(host, [service("web", { replicas: [outside] })]);
    assert.deepEqual(await host.ask("plain2", VIP), ["lan 198.51.100.1"]);
  });

  await t.test("nobody is led to all of a LAN at once", async () => {
    const all = { address: "198.51.100.255", local: false, reach: "direct", ports: PORTS } as const;
    await apply(host, [service("web", { ports: PORTS, replicas: [replica("s", all)] })]);
    const send = `for n in 1 2 3; do echo x > /dev/udp/${VIP.address}/80 || true; done`;
    for (const place of ["plain2", "host"] as const) await host.in(place, "bash", "-c", send);
    const { stdout } = await host.in("host", "conntrack", "-L", "-p", "udp", "-d", VIP.address);
    assert.doesNotMatch(stdout, /src=198\.51\.100\.255/);
  });

  await t.test("without the table everything arrives at the proxy", async () => {
    await host.rules.remove();
    assert.deepEqual(await host.ask("app2", VIP), ["proxy 10.160.1.2"]);
    assert.equal((await host.in("host", "nft", "list", "ruleset")).stdout, "");
  });
});
