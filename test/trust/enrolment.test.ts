// The door against whoever wants in without a right to: replays, guesses, floods and slow ones.

import assert from "node:assert/strict";
import { sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { describe, it, type TestContext } from "node:test";
import { connect, type TLSSocket } from "node:tls";

import { LIMITS } from "../../src/model/limits.ts";
import { JOIN_ALPN } from "../../src/model/mesh-port.ts";
import { createAuthority, issueCertificate, makeCsr } from "../../src/trust/authority.ts";
import { withCall, type Answer, type Call, type CallerMaterial } from "../../src/trust/enrolment-call.ts";
import { proofText } from "../../src/trust/enrolment-wire.ts";
import type { Identity } from "../../src/trust/keyfile.ts";
import { parseToken } from "../../src/trust/token.ts";
import { until } from "../support/wait.ts";

import { DAY_MS, newApplicant, newManager, newMember, NOW_MS, openDoor, type OpenDoor } from "./doors.ts";

const secretOf = (token: string): string => {
  const parsed = parseToken(token);
  assert.ok(parsed.ok);
  return parsed.value.secret;
};

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const pemOf = (der: Uint8Array): string => new X509Certificate(der).toString();

const call = <T>(
  door: OpenDoor,
  talk: (one: Call) => Promise<T>,
  material: CallerMaterial | null = null,
): Promise<T> => withCall(door.address, { material, timeoutMs: 10_000 }, talk);

/** A request as a node with this key makes it. */
const requestOf = async (
  { id, privateKey, publicKey }: Identity,
  kind: "join" | "renew",
  binding: Uint8Array,
) => ({
  csr: base64(await makeCsr(id, privateKey, publicKey)),
  proof: base64(sign("sha256", proofText(kind, binding), privateKey)),
});

const reasonOf = ({ status, body }: Answer): unknown => [
  status,
  (JSON.parse(body) as { reason?: string }).reason,
];

const materialOf = ({ privateKey }: Identity, certificate: Uint8Array): CallerMaterial => ({
  key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  chain: pemOf(certificate),
});

/** A TLS connection to a door, with all that it received. */
const rawTls = async (t: TestContext, door: OpenDoor) => {
  const socket: TLSSocket = connect({
    ...door.address,
    ALPNProtocols: [JOIN_ALPN],
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  t.after(() => socket.destroy());
  socket.on("error", () => undefined);
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  await once(socket, "secureConnect");
  return { socket, received: () => received };
};

describe("enrolment", () => {
  it("enrolment: what was said on one connection is refused on another, word for word", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const applicant = await newApplicant(t);
    const secret = secretOf(manager.credentials.token("worker"));
    const overheard = await call(door, async (one) => {
      const body = { ...(await requestOf(applicant.identity, "join", one.binding)), secret };
      assert.equal((await one.ask("POST", "/join", body)).status, 200);
      return body;
    });
    const replayed = await call(door, (one) => one.ask("POST", "/join", overheard));
    assert.deepEqual(reasonOf(replayed), [403, "wrong-proof"]);
    assert.ok(!replayed.body.includes("CERTIFICATE"));
    assert.deepEqual(
      door.attempts.map(({ result }) => result),
      ["accepted", "wrong-proof"],
    );
  });

  it("enrolment: a signing request of somebody else's, signed for by another key, is refused", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const [victim, thief] = [await newApplicant(t), await newApplicant(t)];
    const secret = secretOf(manager.credentials.token("worker"));
    const answer = await call(door, async (one) => {
      const stolen = await requestOf(victim.identity, "join", one.binding);
      const own = await requestOf(thief.identity, "join", one.binding);
      return one.ask("POST", "/join", { csr: stolen.csr, proof: own.proof, secret });
    });
    assert.deepEqual(reasonOf(answer), [403, "wrong-proof"]);
  });

  it("enrolment: a proof made to renew does not serve to join, nor the other way round", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const member = await newMember(t, manager.credentials, "worker");
    const secret = secretOf(manager.credentials.token("manager"));
    const answers = await call(
      door,
      async (one) => {
        const renewal = await requestOf(member.identity, "renew", one.binding);
        return one.ask("POST", "/join", { ...renewal, secret });
      },
      member.credentials.material(),
    );
    assert.deepEqual(reasonOf(answers), [403, "wrong-proof"]);
    const other = await call(
      door,
      async (one) => one.ask("POST", "/renew", await requestOf(member.identity, "join", one.binding)),
      member.credentials.material(),
    );
    assert.deepEqual(reasonOf(other), [403, "wrong-proof"]);
  });

  it("enrolment: a member cannot renew for another's key, nor get another role", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const [member, other] = [
      await newMember(t, manager.credentials, "worker"),
      await newMember(t, manager.credentials, "manager"),
    ];
    const material = member.credentials.material();
    const forOther = await call(
      door,
      async (one) => one.ask("POST", "/renew", await requestOf(other.identity, "renew", one.binding)),
      material,
    );
    assert.deepEqual(reasonOf(forOther), [403, "wrong-proof"]);
    const own = await call(
      door,
      async (one) =>
        one.ask("POST", "/renew", {
          ...(await requestOf(member.identity, "renew", one.binding)),
          role: "manager",
        }),
      material,
    );
    assert.equal(own.status, 200);
    const { certificate } = JSON.parse(own.body) as { certificate: string };
    const admitted = manager.credentials.admit(new X509Certificate(certificate).raw);
    assert.ok(admitted.ok && admitted.value.role === "worker");
    assert.ok(!own.body.includes("PRIVATE"));
  });

  it("enrolment: without a certificate of this cluster nobody renews or gets keys", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const door = await openDoor(t, manager);
    const applicant = await newApplicant(t);
    const { identity } = applicant;
    const { clusterId } = manager.credentials;
    const forged = await createAuthority(clusterId, 1, NOW_MS);
    const request = { ...identity, clusterId, role: "manager", nowMs: NOW_MS } as const;
    const materials: readonly (CallerMaterial | null)[] = [
      null,
      foreign.credentials.material(),
      // A foreign authority that says it is this cluster's.
      materialOf(identity, await issueCertificate(forged, request)),
      // The right one, but for another cluster, and one that has ended.
      materialOf(identity, await foreign.credentials.issue(identity.publicKey, identity.id, "manager")),
      materialOf(identity, await issueCertificate(forged, { ...request, lifeMs: -1 })),
    ];
    for (const material of materials) {
      const answers = await call(
        door,
        async (one) => [await one.ask("POST", "/renew", await requestOf(identity, "renew", one.binding))],
        material,
      );
      const keys = await call(door, (one) => one.ask("POST", "/authority", {}), material);
      for (const answer of [...answers, keys]) assert.deepEqual(reasonOf(answer), [403, "stranger"]);
    }
    assert.ok(door.attempts.every(({ result, id }) => result === "stranger" && id === null));
    // Which of all reasons it is: whoever runs the cluster cannot help with less.
    const ended = materialOf(
      identity,
      await manager.credentials.issue(identity.publicKey, identity.id, "worker"),
    );
    manager.clock.nowMs += 400 * DAY_MS;
    const answer = await call(door, (one) => one.ask("POST", "/authority", {}), ended);
    const reasons = [door.attempts[0]?.reason, door.attempts[2]?.reason, door.attempts.at(-1)?.reason];
    assert.match(reasons.join("\n"), /showed no certificate.*\n.*for another cluster.*\n.*has ended .* ago/);
    assert.match(answer.body, /has ended .* ago/);
  });

  it("enrolment: a member that was removed while it was connected is refused", async (t) => {
    const manager = await newManager(t);
    const member = await newMember(t, manager.credentials, "manager");
    const before = manager.credentials.admit(member.credentials.certificate);
    assert.ok(before.ok);
    // The mesh port learns who it is once, when the connection begins; here it is told before the removal.
    manager.credentials.revoke(member.identity.id);
    const { openEnrolment } = await import("../../src/trust/enrolment.ts");
    const enrolment = openEnrolment({
      credentials: manager.credentials,
      now: () => NOW_MS,
      members: () => [],
      managers: () => [],
      told: () => undefined,
    });
    const door = await openDoor(t, manager, {
      answer: (request, response, caller) =>
        enrolment(request, response, { ...caller, credential: before.value }),
    });
    const answer = await call(door, (one) => one.ask("POST", "/authority", {}));
    assert.deepEqual(reasonOf(answer), [403, "removed"]);
    assert.ok(!answer.body.includes("PRIVATE"));
  });

  it("enrolment: after ten wrong secrets an address waits, even with the right one; others do not", async (t) => {
    const manager = await newManager(t);
    let address = "192.0.2.66";
    const door = await openDoor(t, manager, { address: () => address });
    const { identity } = await newApplicant(t);
    const secret = secretOf(manager.credentials.token("worker"));
    const attempt = (guess: string): Promise<Answer> =>
      call(door, async (one) =>
        one.ask("POST", "/join", { ...(await requestOf(identity, "join", one.binding)), secret: guess }),
      );
    for (let at = 0; at < LIMITS.joinFailuresPerAddress; at += 1) {
      assert.deepEqual(reasonOf(await attempt(String(at).padStart(25, "0"))), [403, "wrong-token"]);
    }
    assert.deepEqual(reasonOf(await attempt(secret)), [429, "limited"]);
    address = "192.0.2.67";
    assert.equal((await attempt(secret)).status, 200);
    address = "192.0.2.66";
    manager.clock.nowMs += 60_000;
    assert.equal((await attempt(secret)).status, 200);
    const counts = Map.groupBy(door.attempts, ({ result }) => result);
    assert.deepEqual(
      ["wrong-token", "limited", "accepted"].map((result) => counts.get(result as "limited")?.length),
      [10, 1, 2],
    );
    assert.ok(!JSON.stringify(door.attempts).includes(secret));
  });

  it("enrolment: guesses made all at once do not slip in under the bound", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const { identity } = await newApplicant(t);
    const guesses = Array.from({ length: 40 }, (_, at) => String(at).padStart(25, "0"));
    const answers = await Promise.all(
      guesses.map((secret) =>
        call(door, async (one) =>
          one.ask("POST", "/join", { ...(await requestOf(identity, "join", one.binding)), secret }),
        ),
      ),
    );
    const wrong = answers.filter(({ status }) => status === 403).length;
    assert.equal(wrong, LIMITS.joinFailuresPerAddress);
    assert.ok(answers.every(({ status }) => [403, 429, 503].includes(status)));
  });

  it("enrolment: a refusal for haste says in how many seconds to come again", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    for (let at = 0; at < LIMITS.joinFailuresPerAddress; at += 1)
      await call(door, (one) => one.ask("POST", "/join", {}));
    const { socket, received } = await rawTls(t, door);
    socket.write("POST /join HTTP/1.1\r\nhost: skein\r\ncontent-length: 2\r\n\r\n{}");
    await until(() => received().includes("\r\n\r\n"));
    assert.match(received(), /^HTTP\/1\.1 429 /);
    assert.match(received(), /\r\nretry-after: 60\r\n/i);
  });

  it("enrolment: a body that is too long is refused before its end", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    const { socket, received } = await rawTls(t, door);
    socket.write("POST /join HTTP/1.1\r\nhost: skein\r\ncontent-length: 100000000\r\n\r\n");
    socket.write("x".repeat(LIMITS.enrolBodyBytes + 1));
    await until(() => received().includes("too-large"));
    assert.match(received(), /^HTTP\/1\.1 413 /);
    await until(() => socket.closed);
  });

  it("enrolment: a body that does not come is not waited for, and its connection ends", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager, { bodyMs: 50 });
    const { socket, received } = await rawTls(t, door);
    socket.write('POST /join HTTP/1.1\r\nhost: skein\r\ncontent-length: 100\r\n\r\n{"secret":');
    await until(() => received().includes("too-slow"));
    assert.match(received(), /^HTTP\/1\.1 408 /);
    await until(() => socket.closed);
    assert.deepEqual(
      door.attempts.map(({ result }) => result),
      ["too-slow"],
    );
  });

  it("enrolment: whoever goes away in the middle leaves nothing behind", async (t) => {
    const manager = await newManager(t);
    const door = await openDoor(t, manager);
    for (let at = 0; at < LIMITS.enrolmentsPerAddress + 4; at += 1) {
      const { socket } = await rawTls(t, door);
      socket.write("POST /renew HTTP/1.1\r\nhost: skein\r\ncontent-length: 100\r\n\r\n{");
      await until(() => door.requests.length === at + 1);
      socket.destroy();
    }
    await until(() => door.attempts.length === LIMITS.enrolmentsPerAddress + 4);
    const member = await newMember(t, manager.credentials, "worker");
    const answer = await call(
      door,
      async (one) => one.ask("POST", "/renew", await requestOf(member.identity, "renew", one.binding)),
      member.credentials.material(),
    );
    assert.equal(answer.status, 200);
  });

  it("enrolment: one address holds only so many requests open, and another still comes through", async (t) => {
    const manager = await newManager(t);
    let address = "192.0.2.66";
    const door = await openDoor(t, manager, { address: () => address });
    for (let at = 0; at < LIMITS.enrolmentsPerAddress; at += 1) {
      const { socket } = await rawTls(t, door);
      socket.write("POST /join HTTP/1.1\r\nhost: skein\r\ncontent-length: 100\r\n\r\n{");
      await until(() => door.requests.length === at + 1);
    }
    assert.deepEqual(reasonOf(await call(door, (one) => one.ask("POST", "/join", {}))), [503, "full"]);
    address = "192.0.2.67";
    assert.deepEqual(reasonOf(await call(door, (one) => one.ask("POST", "/join", {}))), [400, "malformed"]);
  });

  it("enrolment: junk of every kind gets an answer and is told, and the door stays open", async (t) => {
    const manager = await newManager(t);
    let at = 0;
    // Another address each time, or the tenth would have to wait.
    const door = await openDoor(t, manager, { address: () => `192.0.2.${(at += 1)}` });
    const { identity } = await newApplicant(t);
    const secret = secretOf(manager.credentials.token("worker"));
    const bodies = [
      null,
      [],
      "text",
      { secret },
      { secret, csr: "%%%", proof: "" },
      { secret, csr: base64(new Uint8Array(100)), proof: base64(new Uint8Array(70)) },
      { secret, csr: base64(new Uint8Array(LIMITS.csrBytes + 1)), proof: "" },
      { secret: 7, csr: "", proof: "" },
    ];
    for (const body of bodies) {
      const answer = await call(door, (one) => one.ask("POST", "/join", body));
      assert.deepEqual(reasonOf(answer), [400, "malformed"]);
      assert.ok(!answer.body.includes(secret));
    }
    for (const path of ["/", "/joint", "/cluster?x"]) {
      assert.deepEqual(reasonOf(await call(door, (one) => one.ask("GET", path))), [404, "unknown-request"]);
    }
    assert.equal(door.attempts.length, bodies.length);
    const answer = await call(door, async (one) =>
      one.ask("POST", "/join", { ...(await requestOf(identity, "join", one.binding)), secret }),
    );
    assert.equal(answer.status, 200);
  });

  it("enrolment: a stranger learns authorities and managers, and nothing else", async (t) => {
    const manager = await newManager(t);
    manager.credentials.revoke("a".repeat(20));
    const door = await openDoor(t, manager, { managers: () => ["192.0.2.1:7650"] });
    const answer = await call(door, (one) => one.ask("GET", "/cluster"));
    assert.deepEqual(JSON.parse(answer.body), {
      clusterId: manager.credentials.clusterId,
      roots: manager.credentials.charter.roots,
      managers: ["192.0.2.1:7650"],
      counts: false,
    });
  });

  it("enrolment: both ends have the same binding, and each connection another", async (t) => {
    const manager = await newManager(t);
    const seen: string[] = [];
    const door = await openDoor(t, manager, {
      answer: async (_request, response, caller) => {
        seen.push(base64(caller.binding));
        response.end("{}");
      },
    });
    const ours: string[] = [];
    for (let at = 0; at < 3; at += 1) {
      await call(door, async (one) => {
        ours.push(base64(one.binding));
        await one.ask("GET", "/cluster");
      });
    }
    assert.deepEqual(seen, ours);
    assert.equal(new Set(ours).size, 3);
  });
});
