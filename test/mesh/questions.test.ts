// Questions of members: what is answered to whom, and what a hostile end of either side gets.

import assert from "node:assert/strict";
import { createServer, type TLSSocket } from "node:tls";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { openAsking, type Answers, type Question } from "../../src/mesh/questions.ts";
import { openWayBack, wayBackFrom } from "../../src/mesh/way-back.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMeshPort, openTls, tlsOptionsOf, type MeshPort } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf } from "../support/mesh-trust.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

const CREDENTIAL = { id: papersOf(1).id, role: "worker", issuer: "", notAfterMs: Infinity } as const;
const PATH: Question = { topic: "path", deadlineMs: DEADLINE_MS };

/** Asks a member's port as member number 1. */
function asking(
  port: Pick<MeshPort, "address">,
  question: Question = PATH,
  id = papersOf(0).id,
): Promise<unknown> {
  return openAsking(openMember(papersOf(1)).dialMember)({ id, address: port.address }, question);
}

function opened(t: TestContext, answers: Answers): Promise<MeshPort> {
  return openMeshPort(t, { answers });
}

const codeOf = (code: string) => (thrown: unknown) => thrown instanceof Failure && thrown.code === code;

describe("questions", () => {
  it("are answered with JSON, and who asks is known by the certificate", async (t) => {
    const port = await opened(t, {
      traffic: ({ id }) => ({ asker: id }),
      path: () => Promise.resolve([1, "é"]),
    });
    assert.deepEqual(await asking(port, { ...PATH, topic: "traffic" }), { asker: papersOf(1).id });
    assert.deepEqual(await asking(port), [1, "é"]);
    await until(() => port.listener.streamCount() === 0);
  });

  it("that nobody answers are not found, as of a daemon that is older than the question", async (t) => {
    await assert.rejects(asking(await opened(t, {})), codeOf("not-found"));
  });

  it("to another member than is meant, or where nothing listens, fail before anything is asked", async (t) => {
    let connected = 0;
    const question = { ...PATH, onConnected: () => (connected += 1) };
    const port = await opened(t, { path: () => "yes" });
    await assert.rejects(asking(port, question, papersOf(2).id), codeOf("not-allowed"));
    await port.listener.close();
    await assert.rejects(asking(port, question), codeOf("refused"));
    assert.equal(connected, 0);
  });

  it("that an answer throws on say nothing of why", async (t) => {
    const port = await opened(t, {
      path() {
        throw new Error("a secret");
      },
    });
    await assert.rejects(asking(port), (thrown: Failure) => {
      return thrown.code === "invalid" && !thrown.message.includes("secret");
    });
  });

  it("end at the asker's deadline, whatever the other side does", async (t) => {
    const port = await opened(t, { path: () => new Promise(() => undefined) });
    await assert.rejects(asking(port, { ...PATH, deadlineMs: 300 }), codeOf("timeout"));
  });

  it("that wait for an answer too long are answered so", async (t) => {
    const port = await opened(t, { path: () => new Promise(() => undefined) });
    await assert.rejects(asking(port, { ...PATH, deadlineMs: 20_000 }), codeOf("timeout"));
  });

  it("of one member that are too many at once are refused, and others' are not", async (t) => {
    let open = 0;
    const answered = Promise.withResolvers<string>();
    const port = await opened(t, {
      path() {
        open += 1;
        return answered.promise;
      },
    });
    const first = Array.from({ length: LIMITS.questionsPerMember }, () => asking(port));
    await until(() => open === LIMITS.questionsPerMember);
    await assert.rejects(asking(port), codeOf("busy"));
    const other = openAsking(openMember(papersOf(2)).dialMember)(
      { id: papersOf(0).id, address: port.address },
      PATH,
    );
    await until(() => open === LIMITS.questionsPerMember + 1);
    answered.resolve("late");
    assert.deepEqual(new Set(await Promise.all([...first, other])), new Set(["late"]));
    assert.equal(await asking(port), "late", "its places are free again");
  });

  it("are no browser's, and no business of one without a certificate", async (t) => {
    const port = await opened(t, { path: () => "yes" });
    for (const [papers, more] of [
      [papersOf(1), "Origin: http://evil.example\r\n"],
      [null, ""],
    ] as const) {
      const { socket, received } = await openTls(t, port.address.port, { papers, alpn: "skein-stream/1" });
      socket.write(`GET /ask/path HTTP/1.1\r\nHost: mesh\r\n${more}\r\n`);
      await until(() => socket.destroyed || socket.readableEnded);
      assert.doesNotMatch(received(), / 200 /);
    }
  });

  it("a member whose answer is longer than the bound is told by it, though it is JSON", async (t) => {
    const body = `"${"x".repeat(LIMITS.questionAnswerBytes - 1)}"`;
    const address = await openHostile(t, (socket) => void socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`));
    await assert.rejects(asking({ address }), (thrown: Failure) => {
      return thrown.code === "corrupt" && thrown.message.includes(`${LIMITS.questionAnswerBytes} bytes`);
    });
  });

  it("a member's answer may be as long as the bound", async (t) => {
    const text = "x".repeat(LIMITS.questionAnswerBytes - 2);
    const port = await opened(t, { path: () => text });
    assert.equal(await asking(port), text);
  });

  for (const [name, answer, code] of [
    ["no JSON", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "corrupt"],
    ["no HTTP", "SSH-2.0-x\r\n\r\n", "invalid"],
    ["a refusal", "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", "not-found"],
    ["cut off", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n[1", "unreachable"],
  ] as const) {
    it(`a member whose answer is ${name} is told by a failure`, async (t) => {
      const address = await openHostile(t, (socket) => void socket.end(answer));
      await assert.rejects(asking({ address }), codeOf(code));
    });
  }
});

/** A member that says what it likes to whoever asks. */
async function openHostile(
  t: TestContext,
  onCaller: (socket: TLSSocket) => void,
): Promise<MeshPort["address"]> {
  const { key, cert } = tlsOptionsOf({ papers: papersOf(0) });
  const server = createServer({
    key,
    cert,
    ALPNProtocols: ["skein-stream/1"],
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => onCaller(socket));
  });
  server.listen(0, "127.0.0.1");
  await until(() => server.listening);
  t.after(() => server.close());
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

describe("way back", () => {
  it("tells that the asker is reached where the cluster says it listens, and the time of day", async (t) => {
    const asker = await openMeshPort(t, { papers: papersOf(1), answers: { here: () => true } });
    const ask = openAsking(openMember(papersOf(0)).dialMember);
    const port = await opened(t, { path: openWayBack({ ask, addressOf: () => asker.address }) });
    const told = wayBackFrom(await asking(port));
    assert.equal(told?.address, `127.0.0.1:${asker.address.port}`);
    assert.equal(told?.failure, null);
    await until(() => asker.listener.streamCount() === 0);
    assert.equal(await refusalsOf(asker), 0, "nobody is told of it as of trouble");
    assert.ok(Math.abs((told?.clockMs ?? 0) - Date.now()) < 60_000);
  });

  it("tells why the asker is not reached: nothing listens there, or another member does", async (t) => {
    const ask = openAsking(openMember(papersOf(0)).dialMember);
    const closed = await openMeshPort(t, { papers: papersOf(1) });
    const other = await openMeshPort(t, { papers: papersOf(2) });
    await closed.listener.close();
    let { address } = closed;
    const port = await opened(t, { path: openWayBack({ ask, addressOf: () => address }) });
    assert.match(wayBackFrom(await asking(port))?.failure ?? "", /cannot be reached/);
    address = other.address;
    assert.match(wayBackFrom(await asking(port))?.failure ?? "", /expected/);
  });

  it("reaches an asker that is older than the question", async (t) => {
    const asker = await openMeshPort(t, { papers: papersOf(1) });
    const ask = openAsking(openMember(papersOf(0)).dialMember);
    const port = await opened(t, { path: openWayBack({ ask, addressOf: () => asker.address }) });
    assert.equal(wayBackFrom(await asking(port))?.failure, null);
  });

  it("dials one that it does not know nowhere", async (t) => {
    const ask = openAsking(openMember(papersOf(0)).dialMember);
    const port = await opened(t, { path: openWayBack({ ask, addressOf: () => null }) });
    const told = wayBackFrom(await asking(port));
    assert.deepEqual([told?.address, told?.failure], [null, null]);
  });

  it("tells of an address that the question did not come from only that it is not reached there", async () => {
    const reasons = ["nothing listens", "took no connection", "does not speak TLS"];
    const told = await Promise.all(
      reasons.map(async (reason) => {
        const wayBack = openWayBack({
          ask: () => Promise.reject(new Failure("refused", reason)),
          addressOf: () => ({ host: "192.0.2.7", port: 22 }),
        });
        const elsewhere = wayBackFrom(await wayBack(CREDENTIAL, "192.0.2.1"));
        const itself = wayBackFrom(await wayBack(CREDENTIAL, "192.0.2.7"));
        return [elsewhere?.failure, itself?.failure];
      }),
    );
    assert.deepEqual(
      told.map(([, itself]) => itself),
      reasons,
    );
    assert.equal(new Set(told.map(([elsewhere]) => elsewhere)).size, 1);
    assert.match(told[0]?.[0] ?? "", /not reached there/);
  });

  it("dials what is this host's own for nobody from elsewhere", async () => {
    for (const host of ["127.0.0.1", "localhost", "::1", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1"]) {
      let dials = 0;
      const wayBack = openWayBack({
        ask: () => Promise.resolve((dials += 1)),
        addressOf: () => ({ host, port: 22 }),
      });
      const told = wayBackFrom(await wayBack(CREDENTIAL, "192.0.2.1"));
      assert.deepEqual([dials, told?.failure], [0, "that is an address of each host's own"], host);
    }
  });

  it("is dialled once for all who ask at the same time", async (t) => {
    let dials = 0;
    const failing = Promise.withResolvers<never>();
    const wayBack = openWayBack({
      ask() {
        dials += 1;
        return failing.promise;
      },
      addressOf: () => ({ host: "127.0.0.1", port: 1 }),
    });
    let heard = 0;
    const port = await opened(t, {
      path(asker, from) {
        heard += 1;
        return wayBack(asker, from);
      },
    });
    const asked = [asking(port), asking(port), asking(port)];
    await until(() => heard === 3);
    assert.equal(dials, 1);
    failing.reject(new Failure("refused", "nothing listens"));
    const told = await Promise.all(asked);
    assert.ok(told.every((one) => wayBackFrom(one)?.failure === "nothing listens"));
  });

  it("of any form is read without harm", () => {
    for (const value of [null, 1, [], {}, { clockMs: "now" }, { clockMs: 1, address: 2, failure: null }])
      assert.equal(wayBackFrom(value), null);
    const long = wayBackFrom({ clockMs: 1, address: null, failure: "x".repeat(10_000) });
    assert.equal(long?.failure?.length, LIMITS.problemTextBytes);
  });
});
