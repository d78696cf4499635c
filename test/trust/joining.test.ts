// A host comes in with a good token and not otherwise, and says its secret to nobody but a manager of that cluster.

import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { describe, it } from "node:test";
import { performance } from "node:perf_hooks";

import { Failure } from "../../src/base/failure.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { BACKDATED_MS, issueCertificate, createAuthority } from "../../src/trust/authority.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { fetchKeysAt, fetchRootsAt, joinCluster, renewAt, type Joined } from "../../src/trust/joining.ts";
import { adopt, openCredentials } from "../../src/trust/membership.ts";
import { parseToken, type Token } from "../../src/trust/token.ts";
import { closedPort, openTcpServer } from "../support/tcp.ts";

import { DAY_MS, newApplicant, newManager, newMember, NOW_MS, openDoor, type Applicant } from "./doors.ts";

const tokenOf = (text: string): Token => {
  const parsed = parseToken(text);
  assert.ok(parsed.ok);
  return parsed.value;
};

const join = (
  applicant: Applicant,
  token: Token | string,
  seeds: readonly HostPort[],
  timeoutMs = 10_000,
): Promise<Joined> =>
  joinCluster({
    seeds,
    token: typeof token === "string" ? tokenOf(token) : token,
    identity: applicant.identity,
    name: "host-7",
    now: () => applicant.clock.nowMs,
    timeoutMs,
  });

const refusal = async (work: Promise<unknown>): Promise<Failure> => {
  const thrown = await work.then(
    () => assert.fail("it was not refused"),
    (caught: unknown) => caught,
  );
  if (!(thrown instanceof Failure)) throw thrown;
  return thrown;
};

/** That nobody was told the secret, in whatever he got or said. */
const expectUnsaid = (secret: string, ...where: readonly unknown[]): void => {
  assert.ok(!JSON.stringify(where).includes(secret));
};

describe("joining", () => {
  for (const role of ["worker", "manager"] as const) {
    it(`joining: with the ${role} token a host comes in as that, and both sides hold each other good`, async (t) => {
      const manager = await newManager(t);
      const door = await openDoor(t, manager, { members: () => ["192.0.2.7:7650", "not an address"] });
      const applicant = await newApplicant(t);
      const joined = await join(applicant, manager.credentials.token(role), [door.address]);
      const credentials = await adopt(applicant.options, joined);
      assert.equal(joined.role, role);
      assert.equal(credentials.role, role);
      assert.equal(credentials.clusterId, manager.credentials.clusterId);
      assert.deepEqual(joined.members, [door.address, { host: "192.0.2.7", port: 7650 }]);
      const [theirs, ours] = [
        manager.credentials.admit(credentials.certificate),
        credentials.admit(manager.credentials.certificate),
      ];
      assert.ok(theirs.ok && theirs.value.id === applicant.identity.id && theirs.value.role === role);
      assert.ok(ours.ok && ours.value.role === "manager");
      const { id } = applicant.identity;
      assert.deepEqual(door.attempts, [
        { request: "join", result: "accepted", address: "127.0.0.1", id, name: "host-7", role, reason: "" },
      ]);
      // A manager can print the same tokens; a worker none.
      if (role === "manager") {
        assert.equal(credentials.token("worker"), manager.credentials.token("worker"));
        assert.deepEqual(credentials.keys(), manager.credentials.keys());
      } else {
        assert.throws(() => credentials.token("worker"), { code: "not-allowed" });
        assert.deepEqual(credentials.keys(), {});
        expectUnsaid("PRIVATE KEY", joined);
      }
    });
  }

  it("joining: what was joined is there after a restart, with the same tokens and the same say", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const applicant = await newApplicant(t);
    const token = manager.credentials.token("manager");
    const first = await adopt(applicant.options, await join(applicant, token, [door.address]));
    const again = await openCredentials(applicant.options);
    assert.ok(again !== null);
    assert.deepEqual(again.charter, first.charter);
    assert.equal(again.token("manager"), token);
    assert.equal(again.role, "manager");
  });

  it("joining: a wrong secret is refused, told and counted; no text holds it", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const good = tokenOf(manager.credentials.token("worker"));
    const wrong = { ...good, secret: `${good.secret.slice(0, -1)}${good.secret.endsWith("0") ? "1" : "0"}` };
    const failure = await refusal(join(await newApplicant(t), wrong, [door.address]));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /token is wrong/);
    assert.deepEqual(
      door.attempts.map(({ request, result }) => [request, result]),
      [["join", "wrong-token"]],
    );
    expectUnsaid(wrong.secret, failure.message, door.attempts);
  });

  it("joining: after a rotation the old token is refused by name, the other role's stays", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const door = await openDoor(t, manager);
    const [old, other] = [credentials.token("worker"), credentials.token("manager")];
    credentials.rotateToken("worker");
    assert.notEqual(credentials.token("worker"), old);
    const failure = await refusal(join(await newApplicant(t), old, [door.address]));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /rotated/);
    assert.equal(
      (await join(await newApplicant(t), credentials.token("worker"), [door.address])).role,
      "worker",
    );
    assert.equal(credentials.token("manager"), other);
    assert.equal((await join(await newApplicant(t), other, [door.address])).role, "manager");
  });

  it("joining: another cluster is never told the secret", async (t) => {
    const [ours, theirs] = [await newManager(t), await newManager(t)];
    const door = await openDoor(t, theirs);
    const token = ours.credentials.token("worker");
    const failure = await refusal(join(await newApplicant(t), token, [door.address]));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /another cluster/);
    assert.deepEqual(door.requests, ["GET /cluster"]);
    expectUnsaid(tokenOf(token).secret, failure.message, door.requests);
  });

  it("joining: whoever shows our authority but holds no certificate of it is never told the secret", async (t) => {
    const [ours, thief] = [await newManager(t), await newManager(t)];
    const { clusterId, roots } = ours.credentials.charter;
    // A foreign authority, of the same name, for the same cluster.
    const forged = await createAuthority(clusterId, 1, NOW_MS);
    const { publicKey, id } = thief.identity;
    const request = { publicKey, id, clusterId, role: "manager", nowMs: NOW_MS } as const;
    const pem = (der: Uint8Array): string =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
    const { key } = thief.credentials.material();
    const token = ours.credentials.token("worker");
    // With the roots as they are, and with the forged one put beside them.
    for (const shownRoots of [
      roots,
      [...roots, forged.root],
      [...roots, { ...forged.root, cross: roots[0]?.certificate ?? null }],
    ]) {
      const chain = pem(await issueCertificate(forged, request));
      const door = await openDoor(t, thief, {
        shown: { key, chain },
        answer: async (_request, response) => {
          response.end(JSON.stringify({ clusterId, roots: shownRoots, managers: [] }));
        },
      });
      const failure = await refusal(join(await newApplicant(t), token, [door.address]));
      assert.equal(failure.code, "refused");
      assert.match(failure.message, /not issued by an authority of this cluster/);
      assert.deepEqual(door.requests, ["GET /cluster"]);
    }
  });

  it("joining: a worker is not told the secret either, but sends on to a manager", async (t) => {
    const manager = await newManager(t);
    const managerDoor = await openDoor(t, manager);
    const worker = await newMember(t, manager.credentials, "worker");
    const workerDoor = await openDoor(t, worker, { managers: () => [renderHostPort(managerDoor.address)] });
    const joined = await join(await newApplicant(t), manager.credentials.token("manager"), [
      workerDoor.address,
    ]);
    assert.equal(joined.role, "manager");
    assert.deepEqual(workerDoor.requests, ["GET /cluster"]);
    assert.deepEqual(joined.members, [managerDoor.address]);
  });

  it("joining: a manager without the key sends on too", async (t) => {
    const manager = await newManager(t);
    const managerDoor = await openDoor(t, manager);
    const other = await newMember(t, manager.credentials, "manager");
    other.credentials.apply(await manager.credentials.rotateAuthority());
    const otherDoor = await openDoor(t, other, { managers: () => [renderHostPort(managerDoor.address)] });
    const joined = await join(await newApplicant(t), other.credentials.token("worker"), [otherDoor.address]);
    assert.equal(joined.role, "worker");
    assert.deepEqual(
      otherDoor.attempts.map(({ result }) => result),
      ["elsewhere"],
    );
  });

  it("joining: workers that send on to each other come to an end", async (t) => {
    const manager = await newManager(t);
    const worker = await newMember(t, manager.credentials, "worker");
    const doors: HostPort[] = [];
    let asked = 0;
    for (let at = 0; at < 8; at += 1) {
      const door = await openDoor(t, worker, {
        managers: () => {
          asked += 1;
          return doors.map(renderHostPort);
        },
      });
      doors.push(door.address);
    }
    const [first] = doors;
    assert.ok(first !== undefined);
    const failure = await refusal(join(await newApplicant(t), manager.credentials.token("worker"), [first]));
    assert.equal(failure.code, "unreachable");
    assert.match(failure.message, /no manager/);
    assert.equal(asked, 8);
  });

  it("joining: of several seeds those that do not answer, or are something else, are passed over", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const door = await openDoor(t, manager);
    const foreignDoor = await openDoor(t, foreign);
    const seeds = [{ host: "127.0.0.1", port: await closedPort() }, foreignDoor.address, door.address];
    const joined = await join(await newApplicant(t), manager.credentials.token("worker"), seeds);
    assert.equal(joined.role, "worker");
    assert.deepEqual(foreignDoor.requests, ["GET /cluster"]);
  });

  it("joining: each way in which nobody is there says so", async (t) => {
    const manager = await newManager(t);
    const token = manager.credentials.token("worker");
    const plain = createHttpServer((_request, response) => response.end("hello"));
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    t.after(() => plain.close());
    const plainPort = (plain.address() as { port: number }).port;
    const silent = await openTcpServer(t, () => undefined);
    const old = await openDoor(t, manager, { maxVersion: "TLSv1.2" });
    const cases: readonly [HostPort, string, RegExp][] = [
      [{ host: "127.0.0.1", port: await closedPort() }, "unreachable", /refuses connections/],
      [{ host: "127.0.0.1", port: plainPort }, "refused", /does not speak TLS/],
      [{ host: "127.0.0.1", port: silent.port }, "timeout", /did not answer within/],
      [old.address, "refused", /TLS 1\.3/],
      [{ host: "no-such-host.invalid", port: 1 }, "unreachable", /no such host/],
    ];
    for (const [to, code, text] of cases) {
      const timeoutMs = to.port === silent.port ? 300 : 10_000;
      const failure = await refusal(join(await newApplicant(t), token, [to], timeoutMs));
      assert.equal(failure.code, code, failure.message);
      assert.match(failure.message, text);
      assert.ok(failure.message.includes(renderHostPort(to)));
      expectUnsaid(tokenOf(token).secret, failure.message);
    }
  });

  it("joining: a server of other things that speaks TLS is no door", async (t) => {
    const manager = await newManager(t);
    const { createServer } = await import("node:tls");
    const { key, chain } = manager.credentials.material();
    for (const ALPNProtocols of [["h2"], undefined]) {
      const server = createServer({
        key,
        cert: chain,
        ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }),
      });
      server.on("tlsClientError", () => undefined);
      server.on("secureConnection", (socket) => socket.on("error", () => undefined));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      t.after(() => server.close());
      const { port } = server.address() as { port: number };
      const token = manager.credentials.token("worker");
      const failure = await refusal(join(await newApplicant(t), token, [{ host: "127.0.0.1", port }]));
      assert.equal(failure.code, "refused", failure.message);
      assert.match(failure.message, /not the mesh port/);
    }
  });

  it("joining: an answer without end is cut off", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager, {
      answer: async (_request, response) => {
        const pour = (): void => {
          while (!response.destroyed && response.write("x".repeat(65_536)));
        };
        response.on("drain", pour);
        pour();
      },
    });
    const failure = await refusal(
      join(await newApplicant(t), manager.credentials.token("worker"), [door.address]),
    );
    assert.equal(failure.code, "refused");
    assert.match(failure.message, new RegExp(`more than ${LIMITS.enrolAnswerBytes} bytes`));
  });

  const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
  for (const [name, raw] of [
    ["goes on after its end", `${OK}and on\r\n`],
    ["is followed by one more", `${OK}${OK}`],
    ["has a chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ["has two lengths", `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}`],
    ["switches protocols", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"],
  ] as const) {
    it(`joining: an answer that ${name} ends the attempt, at once, and nothing else`, async (t) => {
      const manager = await newManager(t);
      const door = await openDoor(t, manager, {
        answer: async (request) => {
          request.socket.write(raw);
        },
      });
      const failure = await refusal(
        join(await newApplicant(t), manager.credentials.token("worker"), [door.address]),
      );
      assert.ok(["refused", "unreachable"].includes(failure.code), failure.message);
      // What fails later, with nobody to wait for it, would end the process: node:test fails the test for it.
      await new Promise((resolve) => setImmediate(resolve));
    });
  }

  for (const days of [-1, 1]) {
    it(`joining: works with a joiner whose clock is off by ${days} day, and what it got counts on both`, async (t) => {
      const manager = await newManager(t);
      const door = await openDoor(t, manager);
      const applicant = await newApplicant(t, { nowMs: NOW_MS + days * DAY_MS });
      const joined = await join(applicant, manager.credentials.token("worker"), [door.address]);
      const credentials = await adopt(applicant.options, joined);
      assert.ok(credentials.admit(manager.credentials.certificate).ok);
      assert.ok(manager.credentials.admit(credentials.certificate).ok);
    });
  }

  for (const [days, text] of [
    [-BACKDATED_MS / DAY_MS - 1, /clock/],
    [200, /clock/],
  ] as const) {
    it(`joining: a clock that is off by ${days} days is named, and the secret stays unsaid`, async (t) => {
      const manager = await newManager(t);
      const door = await openDoor(t, manager);
      const applicant = await newApplicant(t, { nowMs: NOW_MS + days * DAY_MS });
      const failure = await refusal(join(applicant, manager.credentials.token("worker"), [door.address]));
      assert.equal(failure.code, "refused");
      assert.match(failure.message, text);
      assert.deepEqual(door.requests, ["GET /cluster"]);
    });
  }

  it("joining: a node that was removed is refused with the remedy, though its token is good", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const applicant = await newApplicant(t);
    manager.credentials.revoke(applicant.identity.id);
    const failure = await refusal(join(applicant, manager.credentials.token("worker"), [door.address]));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /was removed.*skein leave/);
    assert.equal(door.attempts[0]?.result, "removed");
    assert.equal(door.attempts[0]?.id, applicant.identity.id);
  });

  it("joining: what it takes is told, the X.509 package included, and its outcome is on the disk", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const applicant = await newApplicant(t);
    const fromMs = performance.now();
    await adopt(
      applicant.options,
      await join(applicant, manager.credentials.token("worker"), [door.address]),
    );
    t.diagnostic(`joined in ${(performance.now() - fromMs).toFixed(1)} ms`);
    assert.ok((await openCredentials(applicant.options)) !== null);
  });
});

describe("joining after a rotation of the authority", () => {
  it("joining: an old token still lets in, and a new one does, and members of both authorities get on", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const before = await newMember(t, credentials, "worker");
    const old = credentials.token("worker");
    before.credentials.apply(await credentials.rotateAuthority());
    // What is printed now has to fit the certificate that is shown now.
    assert.equal(credentials.token("worker"), old);
    const joined: Credentials[] = [];
    for (const isRenewed of [false, true]) {
      if (isRenewed) await credentials.renewOwn();
      const door = await openDoor(t, manager);
      for (const token of new Set([old, credentials.token("worker")])) {
        const applicant = await newApplicant(t);
        joined.push(await adopt(applicant.options, await join(applicant, token, [door.address])));
      }
    }
    assert.equal(joined.length, 3);
    assert.notEqual(tokenOf(credentials.token("worker")).fingerprint, tokenOf(old).fingerprint);
    const all = [credentials, before.credentials, ...joined];
    for (const one of all) {
      for (const other of all) assert.ok(one.admit(other.certificate).ok);
    }
    assert.notEqual(before.credentials.credential.issuer, joined[0]?.credential.issuer);
  });

  it("joining: once the old authority is retired its token is refused, and says why", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const old = credentials.token("worker");
    await credentials.rotateAuthority();
    await credentials.renewOwn();
    credentials.retireRoots([], 0);
    const door = await openDoor(t, manager);
    const failure = await refusal(join(await newApplicant(t), old, [door.address]));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /retired/);
    assert.deepEqual(door.requests, ["GET /cluster"]);
    assert.equal(
      (await join(await newApplicant(t), credentials.token("worker"), [door.address])).role,
      "worker",
    );
  });
});

describe("renewing", () => {
  it("renewing: gives the same key and role a later certificate, and the old one counts meanwhile", async (t) => {
    for (const role of ["worker", "manager"] as const) {
      const manager = await newManager(t);
      const door = await openDoor(t, manager);
      const member = await newMember(t, manager.credentials, role);
      const before = { ...member.credentials.credential, certificate: member.credentials.certificate };
      manager.credentials.rotateToken("worker");
      manager.clock.nowMs += 50 * DAY_MS;
      await renewAt(door.address, member);
      assert.equal(member.credentials.role, role);
      assert.equal(member.credentials.credential.id, before.id);
      assert.equal(member.credentials.credential.notAfterMs, before.notAfterMs + 50 * DAY_MS);
      assert.equal(member.credentials.charter.tokens.worker, 2);
      assert.ok(manager.credentials.admit(before.certificate).ok);
      assert.ok(manager.credentials.admit(member.credentials.certificate).ok);
      const again = await openCredentials(member.options);
      assert.equal(again?.credential.notAfterMs, member.credentials.credential.notAfterMs);
      assert.equal(door.attempts[0]?.result, "accepted");
    }
  });

  it("renewing: a removed node is refused", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const member = await newMember(t, manager.credentials, "worker");
    manager.credentials.revoke(member.identity.id);
    const failure = await refusal(renewAt(door.address, member));
    assert.equal(failure.code, "not-allowed");
    assert.match(failure.message, /was removed/);
    assert.equal(door.attempts[0]?.result, "removed");
  });

  it("renewing: one whose certificate has ended is refused, and told to join again", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const member = await newMember(t, manager.credentials, "worker");
    manager.clock.nowMs += 91 * DAY_MS;
    await manager.credentials.renewOwn();
    const renewedDoor = await openDoor(t, manager);
    member.clock.nowMs = manager.clock.nowMs;
    const failure = await refusal(renewAt(renewedDoor.address, member));
    assert.match(failure.message, /join again/);
    assert.deepEqual(door.attempts, []);
  });

  it("renewing: neither a worker nor another cluster is asked for a certificate", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const member = await newMember(t, manager.credentials, "worker");
    const worker = await newMember(t, manager.credentials, "worker");
    const [workerDoor, foreignDoor] = [await openDoor(t, worker), await openDoor(t, foreign)];
    assert.equal((await refusal(renewAt(workerDoor.address, member))).code, "refused");
    assert.equal((await refusal(renewAt(foreignDoor.address, member))).code, "refused");
    assert.ok(![...workerDoor.requests, ...foreignDoor.requests].some((one) => one.startsWith("POST")));
  });

  it("renewing: a member that was away while the authority changed believes the new one by the old", async (t) => {
    const manager = await newManager(t);
    const member = await newMember(t, manager.credentials, "worker");
    await manager.credentials.rotateAuthority();
    await manager.credentials.rotateAuthority();
    await manager.credentials.renewOwn();
    const door = await openDoor(t, manager);
    assert.equal(member.credentials.admit(manager.credentials.certificate).ok, false);
    await renewAt(door.address, member);
    assert.equal(member.credentials.credential.issuer, manager.credentials.credential.issuer);
    assert.ok(member.credentials.admit(manager.credentials.certificate).ok);
    assert.ok(manager.credentials.admit(member.credentials.certificate).ok);
  });

  it("renewing: roots can be learned from any member, and none is learned from a stranger", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const [member, worker] = [
      await newMember(t, manager.credentials, "worker"),
      await newMember(t, manager.credentials, "worker"),
    ];
    worker.credentials.apply(await manager.credentials.rotateAuthority());
    const [workerDoor, foreignDoor] = [await openDoor(t, worker), await openDoor(t, foreign)];
    assert.equal((await fetchRootsAt(foreignDoor.address, member)).isNew, false);
    assert.equal((await fetchRootsAt(workerDoor.address, member)).isNew, true);
    assert.equal((await fetchRootsAt(workerDoor.address, member)).isNew, false);
    assert.deepEqual(member.credentials.charter.roots, manager.credentials.charter.roots);
  });

  it("renewing: an impostor that says our authority is retired is not believed", async (t) => {
    const manager = await newManager(t);
    await manager.credentials.rotateAuthority();
    const member = await newMember(t, manager.credentials, "worker");
    const { clusterId, roots } = manager.credentials.charter;
    const foreign = await newManager(t);
    const door = await openDoor(t, foreign, {
      answer: async (_request, response) => {
        const retired = roots.map((root) => ({ ...root, retired: true }));
        response.end(JSON.stringify({ clusterId, roots: retired, managers: [] }));
      },
    });
    assert.equal((await fetchRootsAt(door.address, member)).isNew, false);
    assert.ok(member.credentials.charter.roots.every(({ retired }) => !retired));
  });
});

describe("renewing with a retired authority about", () => {
  it("renewing: whoever kept the key of a retired authority makes no new one that counts", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const member = await newMember(t, credentials, "worker");
    const leaked = await newMember(t, credentials, "manager");
    // As a manager that was removed can: it goes its own way from the key that it has.
    const stolen = await leaked.credentials.rotateAuthority();
    await leaked.credentials.renewOwn();
    await credentials.rotateAuthority();
    await credentials.rotateAuthority();
    await credentials.renewOwn();
    member.credentials.apply(credentials.retireRoots([], 0));
    const door = await openDoor(t, leaked);
    assert.equal(stolen.roots.length, 2);
    assert.equal((await fetchRootsAt(door.address, member)).isNew, false);
    assert.deepEqual(member.credentials.charter.roots, credentials.charter.roots);
    assert.equal((await refusal(renewAt(door.address, member))).code, "refused");
    assert.equal(member.credentials.admit(leaked.credentials.certificate).ok, false);
  });
});

describe("keys of the authority", () => {
  it("keys: a manager gets from another what it lacks, and can then issue by it", async (t) => {
    const manager = await newManager(t);
    const other = await newMember(t, manager.credentials, "manager");
    other.credentials.apply(await manager.credentials.rotateAuthority());
    assert.equal(other.credentials.missingKeys().length, 1);
    assert.equal(other.credentials.hasNewestKey, false);
    const door = await openDoor(t, manager);
    await fetchKeysAt(door.address, other);
    assert.deepEqual(other.credentials.missingKeys(), []);
    assert.equal(other.credentials.token("worker"), manager.credentials.token("worker"));
    const again = await openCredentials(other.options);
    assert.equal(again?.hasNewestKey, true);
  });

  it("keys: a worker gets none", async (t) => {
    const manager = await newManager(t);
    const worker = await newMember(t, manager.credentials, "worker");
    const door = await openDoor(t, manager);
    const failure = await refusal(fetchKeysAt(door.address, worker));
    assert.equal(failure.code, "not-allowed");
    assert.equal(door.attempts[0]?.result, "not-manager");
    expectUnsaid("PRIVATE", door.attempts, failure.message);
  });
});
