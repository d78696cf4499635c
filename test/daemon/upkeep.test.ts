// What a daemon does by itself for its membership: what it asks of others and how often, and what it writes when.

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, it, type TestContext } from "node:test";

import { Journal } from "../../src/admin/journal.ts";
import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { Base } from "../../src/daemon/base.ts";
import type { TrustPace } from "../../src/daemon/options.ts";
import { Upkeep, type UpkeepParts } from "../../src/daemon/upkeep.ts";
import type { Member } from "../../src/model/member.ts";
import type { View } from "../../src/model/view.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import type { Input } from "../../src/step.ts";
import { forgetCluster } from "../../src/trust/membership.ts";
import { openSilentLog } from "../support/silence.ts";
import { DAY_MS, newManager, newMember, openDoor, type Applicant } from "../trust/doors.ts";
import type { Credentials } from "../../src/trust/credentials.ts";

type Inhabitant = Applicant & { readonly credentials: Credentials };

function openUpkeepOf(
  { identity, credentials, clock }: Inhabitant,
  given: {
    readonly members?: readonly Partial<Member>[];
    readonly addresses?: readonly HostPort[];
    readonly pace?: TrustPace;
    readonly others?: ReadonlyMap<string, Credentials>;
  },
) {
  const { members = [], addresses = [], pace = {}, others } = given;
  const log = openSilentLog();
  const report = { trustProblem: null as string | null };
  const options = { config: { node: { name: "host-1" } }, log, pace };
  const journal = new Journal();
  // The parts of a base that it uses.
  const base = {
    options,
    metrics: openMetrics(),
    random: seededRandom(1),
    journal,
    report,
  } as unknown as Base;
  const fed: Input[] = [];
  const self = { id: identity.id, self: true, state: "alive", role: credentials.role };
  const parts: UpkeepParts = {
    identity,
    credentials,
    view: () => ({ complete: true, members: [self, ...members] }) as unknown as View,
    credentialOf: (id) => others?.get(id)?.credential,
    addresses: () => addresses,
    feed: (input) => fed.push(input),
  };
  const now = (): number => clock.nowMs;
  return { upkeep: new Upkeep(base, parts, { nowMs: now, wallMs: now }), report, log, journal, fed };
}

/** Lets the upkeep look once a second for so long. */
async function lookFor(upkeep: Upkeep, clock: { nowMs: number }, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.nowMs += 1000;
    await upkeep.look();
  }
}

async function memberOf(t: TestContext, manager: Inhabitant): Promise<Inhabitant> {
  const member = await newMember(t, manager.credentials, "worker");
  return { ...member, clock: { ...member.clock } };
}

describe("upkeep", () => {
  it("upkeep: who is alone though a manager answers asks now and then, and gets no new certificate", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const member = await memberOf(t, manager);
    const before = member.credentials.certificate;
    const { upkeep, report, journal } = openUpkeepOf(member, { addresses: [door.address] });
    await lookFor(upkeep, member.clock, 600);
    assert.deepEqual([...new Set(door.requests)], ["GET /cluster"]);
    assert.ok(door.requests.length >= 600 / 60 && door.requests.length <= 25, `${door.requests.length}`);
    assert.equal(member.credentials.certificate, before);
    assert.deepEqual([report.trustProblem, journal.events.length], [null, 0]);
  });

  it("upkeep: who is alone because it was removed learns that from a manager, and says so", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const member = await memberOf(t, manager);
    manager.credentials.revoke(member.identity.id);
    const { upkeep, report } = openUpkeepOf(member, { addresses: [door.address] });
    await lookFor(upkeep, member.clock, 1);
    assert.match(report.trustProblem ?? "", /was removed from the cluster/);
    await lookFor(upkeep, member.clock, 600);
    assert.match(report.trustProblem ?? "", /was removed from the cluster/);
    assert.ok(door.attempts.length <= 25, `${door.attempts.length}`);
  });

  it("upkeep: who missed a rotation learns of it from whoever answers, and gets a certificate of it", async (t) => {
    const manager = await newManager(t);
    const member = await memberOf(t, manager);
    await manager.credentials.rotateAuthority();
    await manager.credentials.renewOwn();
    const door = await openDoor(t, manager);
    const silent = { host: "127.0.0.1", port: 1 };
    const { upkeep, fed } = openUpkeepOf(member, { addresses: [silent, silent, door.address] });
    await lookFor(upkeep, member.clock, 12);
    assert.equal(member.credentials.credential.issuer, manager.credentials.newestRoot.fingerprint);
    assert.ok(fed.some(({ kind }) => kind === "charter"));
  });

  it("upkeep: an authority is retired a day after the rotation, and not while somebody has one of it", async (t) => {
    const manager = await newManager(t);
    const { credentials, clock } = manager;
    const behind = await memberOf(t, manager);
    const { id } = behind.identity;
    await credentials.rotateAuthority();
    await credentials.renewOwn();
    const retired = (): number => credentials.charter.roots.filter((root) => root.retired).length;
    // Started anew: it knows of nobody.
    await lookFor(openUpkeepOf(manager, {}).upkeep, clock, 20);
    assert.equal(retired(), 0);
    clock.nowMs += DAY_MS;
    const others = new Map([[id, behind.credentials]]);
    const away = openUpkeepOf(manager, { members: [{ id, self: false, state: "dead" }], others });
    await lookFor(away.upkeep, clock, 20);
    assert.equal(retired(), 0);
    await lookFor(openUpkeepOf(manager, {}).upkeep, clock, 20);
    assert.equal(retired(), 1);
  });

  it("upkeep: closes while a manager takes its time to answer, and nothing is written afterwards", async (t) => {
    const manager = await newManager(t);
    const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const door = await openDoor(t, manager, {
      answer: async (_request, response) => {
        asked.resolve();
        await answered.promise;
        response.end("{}");
      },
    });
    const member = await memberOf(t, manager);
    const { upkeep, report, log } = openUpkeepOf(member, { addresses: [door.address] });
    member.clock.nowMs += 1000;
    const looking = upkeep.look();
    await asked.promise;
    await upkeep.close();
    await member.credentials.close();
    await forgetCluster(member.options.dataDir);
    answered.resolve();
    await looking;
    await upkeep.look();
    assert.deepEqual(await readdir(member.options.dataDir), []);
    assert.deepEqual([report.trustProblem, log.lines], [null, []]);
  });

  it("upkeep: closing waits for a certificate that is just being written", async (t) => {
    const manager = await newManager(t);
    await manager.credentials.rotateAuthority();
    const { upkeep, log } = openUpkeepOf(manager, { pace: { graceMs: 0, spreadMs: 0 } });
    const before = manager.credentials.certificate;
    const looking = upkeep.look();
    await upkeep.close();
    assert.notEqual(manager.credentials.certificate, before);
    await looking;
    assert.match(
      log.lines.map(({ text }) => text).join(),
      /certificate\.renewed host-1: .* by this node itself/,
    );
  });
});
