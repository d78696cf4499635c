// Networks made and removed by command: by managers alone, on a charter that stays, and never under who uses them.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { parsePrefix, type Prefix } from "../../src/base/ip.ts";
import { networkCommands } from "../../src/daemon/network-commands.ts";
import type { LocalClient } from "../../src/model/endpoint.ts";
import type { Network } from "../../src/model/network.ts";
import type { View } from "../../src/model/view.ts";
import type { Input } from "../../src/step.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { networkRanges } from "../../src/trust/networks.ts";
import { overlayView } from "../admin/overlay-picture.ts";
import { member, OTHER, replica, SELF, service, view } from "../admin/picture.ts";
import { newManager } from "../trust/doors.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok);
  return parsed.value;
}

/** The desk of a manager, with what was fed to its node. */
async function openDesk(t: TestContext, shown: View = view(), clients: readonly LocalClient[] = []) {
  const { credentials } = await newManager(t, { nowMs: Date.now() });
  const fed: Input[] = [];
  const commands = commandsOf(credentials, shown, { fed, clients });
  return { credentials, fed, commands };
}

function commandsOf(
  credentials: Credentials,
  shown: View | (() => View),
  given: {
    readonly fed: Input[];
    readonly clients?: readonly LocalClient[];
    readonly bridged?: () => ReadonlySet<string> | null;
  },
) {
  const { fed, clients = [], bridged = () => null } = given;
  // This node has its slice of each network at once.
  const slice = { node: SELF, nodeName: "host-1", index: 0, prefix: "10.160.0.0/24", tentative: false };
  const made = (): readonly Network[] =>
    networkRanges(credentials.charter).map((network) => {
      return { ...network, range: network.range.text, slices: [slice], problems: [], isSound: true };
    });
  const now = (): View => ({
    ...(typeof shown === "function" ? shown() : shown),
    networks: fed.length === 0 ? [] : made(),
  });
  return networkCommands({
    desk: { credentials, view: now, feed: (input) => fed.push(input) },
    overlayPool: prefix("10.160.0.0/11"),
    pool: prefix("10.96.0.0/12"),
    clients: () => clients,
    bridged,
  });
}

const WISH = { name: "app", subnet: null, encrypted: false, ipv6: true };

async function failureOf(asked: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await asked.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(thrown instanceof Failure, String(thrown));
  return thrown;
}

test("network commands: what was made is in the charter and told to the node, and twice is harmless", async (t) => {
  const { credentials, fed, commands } = await openDesk(t);
  const made = await commands.createNetwork(WISH);
  assert.ok(made.created && made.ready);
  assert.match(made.range, /^10\.1[6-9]\d\.0\.0\/16$/);
  assert.match(made.range6 ?? "", /^fd.*::\/64$/);
  assert.equal(credentials.charter.networks[0]?.name, "app");
  assert.deepEqual(fed, [{ kind: "charter", charter: credentials.charter }]);
  const again = await commands.createNetwork(WISH);
  assert.deepEqual(again, { ...made, created: false });
  assert.equal(fed.length, 1);
});

test("network commands: one is ready once its bridge is there, where this host makes bridges", async (t) => {
  const { credentials } = await newManager(t, { nowMs: Date.now() });
  let looks = 0;
  const bridged = (): ReadonlySet<string> => {
    looks += 1;
    return new Set(looks < 3 ? [] : ["app"]);
  };
  const { ready } = await commandsOf(credentials, view(), { fed: [], bridged }).createNetwork(WISH);
  assert.deepEqual([ready, looks], [true, 3]);
});

test("network commands: none is made before it is known what others have", async (t) => {
  const { credentials } = await newManager(t, { nowMs: Date.now() });
  const late = member({ id: OTHER, name: "host-2", self: false, prefixes: ["10.50.1.0/24"] });
  const looks = [view({ complete: false }), view({ complete: false })];
  const shown = (): View => looks.shift() ?? view({ members: [member(), late] });
  const commands = commandsOf(credentials, shown, { fed: [] });
  const refused = await failureOf(commands.createNetwork({ ...WISH, subnet: "10.50.0.0/16" }));
  assert.match(refused.message, /overlaps 10\.50\.1\.0\/24 of host-2/);
});

test("network commands: none is removed before it is known who is on it", async (t) => {
  const { credentials } = await newManager(t, { nowMs: Date.now() });
  await commandsOf(credentials, view(), { fed: [] }).createNetwork(WISH);
  const web = service("app", "web", { replicas: [replica({ reach: "overlay" })] });
  const looks = [view({ complete: false }), view({ complete: false })];
  const shown = (): View => looks.shift() ?? view({ services: [web] });
  const commands = commandsOf(credentials, shown, { fed: [] });
  const refused = await failureOf(commands.removeNetwork("app", false));
  assert.equal(refused.code, "busy");
});

test("network commands: a removed network is gone, may be made anew, and is not removed twice", async (t) => {
  const { credentials, commands } = await openDesk(t);
  await commands.createNetwork(WISH);
  assert.deepEqual(await commands.removeNetwork("app", false), { name: "app", users: [] });
  assert.equal(credentials.charter.networks[0]?.definition, null);
  assert.equal((await failureOf(commands.removeNetwork("app", false))).code, "not-found");
  assert.ok((await commands.createNetwork({ ...WISH, encrypted: true })).created);
});

test("network commands: one that somebody is on is removed by force only, and who that is is named", async (t) => {
  const clients = [{ address: "10.160.3.9", name: "shell", networks: ["app"], isolated: false }];
  const { commands } = await openDesk(t, overlayView(), clients);
  await commands.createNetwork(WISH);
  const refused = await failureOf(commands.removeNetwork("app", false));
  assert.equal(refused.code, "busy");
  assert.match(
    refused.message,
    /in use by shell on host-1, web-1 on host-1, .*web-3 on host-2; stop them first/,
  );
  const { users } = await commands.removeNetwork("app", true);
  assert.equal(users.length, 4);
});

test("network commands: a name that services use elsewhere is neither taken nor removed", async (t) => {
  const shop = service("shop", "web", { replicas: [replica()] });
  const { commands } = await openDesk(t, view({ services: [shop] }));
  assert.equal((await failureOf(commands.createNetwork({ ...WISH, name: "shop" }))).code, "busy");
  const refused = await failureOf(commands.removeNetwork("shop", true));
  assert.equal(refused.code, "invalid");
  assert.match(refused.message, /only a name that services use/);
});

test("network commands: a worker may not, and names who may", async (t) => {
  const { credentials } = await newManager(t, { nowMs: Date.now() });
  const worker = Object.create(credentials, { role: { value: "worker" } }) as Credentials;
  const members = [member({ role: "worker" }), member({ id: OTHER, name: "host-2", self: false })];
  const fed: Input[] = [];
  const commands = commandsOf(worker, view({ members }), { fed });
  for (const asked of [commands.createNetwork(WISH), commands.removeNetwork("app", false)]) {
    const { code, message } = await failureOf(asked);
    assert.equal(code, "not-allowed");
    assert.match(message, /ask a manager: host-2/);
  }
  assert.deepEqual(fed, []);
});
