// Docker's chain for users, in both forms of iptables: run by docker-user.test.ts in a network of its own.

import assert from "node:assert/strict";

import { openDockerUser } from "../../../src/kernel/accept/docker-user.ts";
import { run } from "../../../src/runtime/exec.ts";

const DEADLINE = { deadlineMs: 20_000 };
const ACCEPT = "-A DOCKER-USER -m mark --mark 0x53000000/0xff000000 -j ACCEPT";

async function sh(command: string): Promise<string> {
  const { status, stdout, stderr } = await run("sh", ["-euc", command], DEADLINE);
  assert.equal(status, 0, `${command}: ${stderr}`);
  return stdout;
}

async function rulesOf(program: string): Promise<readonly string[]> {
  return (await sh(`${program} -S DOCKER-USER`)).split("\n").filter((line) => line.startsWith("-A"));
}

const ALL = { v4: true, v6: true };
const dockerUser = openDockerUser();

console.log("where no Docker has made the chain nothing is done, nor any table made by asking");
assert.deepEqual(await dockerUser.accept(), { changes: 0, problems: [], passes: ALL });
assert.deepEqual(await dockerUser.remove(), { changes: 0, problems: [] });
assert.equal(await sh("nft list ruleset"), "");
assert.doesNotMatch(await sh("cat /proc/net/ip_tables_names"), /filter/);

for (const program of ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"]) {
  console.log(`${program}: one rule at the end, before Docker's own RETURN and after the owner's rules`);
  const owners = `-A DOCKER-USER -s ${program.startsWith("ip6") ? "fd00::1/128" : "192.0.2.1/32"} -j DROP`;
  await sh(`${program} -N DOCKER-USER; ${program} ${owners}; ${program} -A DOCKER-USER -j RETURN`);
  const before = await rulesOf(program);
  assert.deepEqual(await dockerUser.accept(), { changes: 1, problems: [], passes: ALL });
  assert.deepEqual(await rulesOf(program), [owners, ACCEPT, "-A DOCKER-USER -j RETURN"]);
  assert.deepEqual(await dockerUser.accept(), { changes: 0, problems: [], passes: ALL }, "it is there");
  assert.deepEqual(await dockerUser.remove(), { changes: 1, problems: [] });
  assert.deepEqual(await rulesOf(program), before);

  console.log(`${program}: a chain without a RETURN gets it at the end; several of ours all go`);
  await sh(`${program} -D DOCKER-USER -j RETURN`);
  await dockerUser.accept();
  assert.deepEqual(await rulesOf(program), [owners, ACCEPT]);
  await sh(`${program} ${ACCEPT}`);
  assert.deepEqual(await dockerUser.remove(), { changes: 2, problems: [] });
  assert.deepEqual(await rulesOf(program), [owners]);
  await sh(`${program} -F; ${program} -X`);
}

console.log("a chain that iptables cannot read is left alone, and told with the command that helps");
await sh("nft flush ruleset");
await sh(`nft -f - <<'END'
table ip filter {
  chain DOCKER-USER {
    fib daddr type local drop
  }
}
END`);
const told = await dockerUser.accept();
assert.deepEqual([told.changes, told.passes], [0, { v4: false, v6: true }]);
assert.match(told.problems.join(), /iptables-nft cannot read chain DOCKER-USER; run nft add rule ip filter/);
await sh(/run (nft .*)$/.exec(told.problems[0] ?? "")?.[1] ?? "false");
assert.deepEqual(await dockerUser.accept(), { changes: 0, problems: [], passes: ALL }, "it helped");

console.log("Docker's nftables backend is told with the option that helps, until it has it");
await sh(
  "nft flush ruleset; nft add table ip docker-bridges; nft add chain ip docker-bridges filter-FORWARD",
);
const backend = await dockerUser.accept();
assert.deepEqual(backend.passes, { v4: false, v6: true });
assert.match(backend.problems.join(), /--bridge-accept-fwmark=0x53000000\/0xff000000$/);
await sh("nft add rule ip docker-bridges filter-FORWARD meta mark and 0xff000000 == 0x53000000 accept");
assert.deepEqual(await dockerUser.accept(), { changes: 0, problems: [], passes: ALL });
