// An ordinary Docker host without any overlay network, a container on its bridge, and a client on the LAN: run by
// accept.test.ts in a network of its own, whose firewall is made as Docker makes it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";

import { openAccept } from "../../../src/kernel/accept/accept.ts";
import { planAccept } from "../../../src/kernel/accept/plan.ts";
import { observeForwarding } from "../../../src/kernel/forwarding.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import { openRules } from "../../../src/kernel/rules/rules.ts";
import { run } from "../../../src/runtime/exec.ts";
import { given, replica, service } from "../rules/fixtures.ts";

const DEADLINE = { deadlineMs: 20_000 };
const MAY = { mayRemove: true };

async function sh(script: string): Promise<string> {
  const { status, stdout, stderr } = await run("sh", ["-euc", script], DEADLINE);
  assert.equal(status, 0, `${script}\n${stderr}`);
  return stdout;
}

/** Who answers the client at the published port; "" for nobody. */
async function answer(): Promise<string> {
  const connect = ["timeout", "0.5", "bash", "-c", "cat < /dev/tcp/192.0.2.1/8080"];
  return (await run("ip", ["netns", "exec", "lan", ...connect], DEADLINE)).stdout.trim();
}

/** A server on port 8080 that says who it is. */
async function serve(name: string, space: readonly string[] = []): Promise<void> {
  const script = `require("node:net").createServer((socket) => socket.on("error", () => 0).end("${name}\\n"))
    .listen(8080, "0.0.0.0", () => console.log("ready"))`;
  const args = [...space, process.execPath, "-e", script];
  const child = spawn("env", args);
  child.stderr.pipe(process.stderr);
  await once(child.stdout, "data");
}

await sh(`
  for name in lan box; do ip netns add $name; ip -n $name link set lo up; done
  ip link add eth0 type veth peer name eth0 netns lan
  ip addr add 192.0.2.1/24 dev eth0
  ip link set eth0 up
  ip -n lan addr add 192.0.2.9/24 dev eth0
  ip -n lan link set eth0 up
  ip link add docker0 type bridge
  ip addr add 172.17.0.1/16 dev docker0
  ip link set docker0 up
  ip link add v-box type veth peer name eth0 netns box
  ip link set v-box master docker0 up
  ip -n box addr add 172.17.0.2/16 dev eth0
  ip -n box link set eth0 up
  ip -n box route add default via 172.17.0.1
  sysctl -qw net.ipv4.ip_forward=1
  iptables -P FORWARD DROP
  iptables -N DOCKER-USER
  iptables -A DOCKER-USER -j RETURN
  iptables -N DOCKER
  iptables -A FORWARD -j DOCKER-USER
  iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  iptables -A FORWARD -o docker0 -j DOCKER
  iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`);
await serve("container", ["ip", "netns", "exec", "box"]);
await serve("proxy");

const web = service("web", {
  replicas: [replica("r1", { address: "172.17.0.2" })],
  publish: [{ published: 8080, port: 80, protocol: "tcp", mode: "ingress" }],
});
const scene: KernelGiven = given({ services: [web] }, { listening: new Set(["8080/tcp"]) });
const [accept, links, rules] = [openAccept(), openLinks(), openRules()];

console.log("the proxy answers before there are rules");
assert.equal(await answer(), "proxy");

console.log(
  "without Docker's word the rules would lead the client into the dark: what follows is the rule's doing",
);
await rules.apply(planRules(scene, 0), MAY);
assert.equal(await answer(), "");
await rules.remove();

console.log("on a host without overlay networks as well, the container answers a client of the LAN");
assert.deepEqual(await accept.apply(planAccept(scene), MAY), { changes: 1, problems: [] });
assert.deepEqual(accept.passes, { v4: true, v6: true });
await links.apply(planLinks(scene), MAY);
await rules.apply(planRules(scene, 0), MAY);
assert.equal(await answer(), "container");

console.log("links that go leave it; it comes back where somebody took it away");
await links.remove();
assert.equal(await answer(), "container");
await sh("iptables -F DOCKER-USER");
assert.equal(await answer(), "");
assert.deepEqual(await accept.repair(), { changes: 1, problems: [] });
assert.equal(await answer(), "container");

console.log("on a host that stops forwarding the proxy answers what comes from elsewhere");
await sh("sysctl -qw net.ipv4.ip_forward=0");
assert.equal((await observeForwarding()).v4, false);
await rules.apply(planRules({ ...scene, forwards: await observeForwarding() }, 0), MAY);
assert.equal(await answer(), "proxy");
await sh("sysctl -qw net.ipv4.ip_forward=1");
await rules.apply(planRules({ ...scene, forwards: await observeForwarding() }, 0), MAY);
assert.equal(await answer(), "container");

console.log("removed, Docker's chain is as it was");
await rules.remove();
assert.deepEqual(await accept.remove(), { changes: 1, problems: [] });
assert.match(
  await sh("iptables -S DOCKER-USER"),
  /^-N DOCKER-USER\n-A DOCKER-USER -j RETURN|^-N DOCKER-USER\s*$/,
);
assert.equal(await answer(), "proxy");
process.exit(0);
