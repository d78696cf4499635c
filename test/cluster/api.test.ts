// The admin API of real daemons: every route, in every state that a cluster gets into here, answers as the OpenAPI
// document says that the same daemon serves; and a page that watches is told what happens.

import assert from "node:assert/strict";
import { request } from "node:http";
import test from "node:test";

import type { DrainLine, Picture, PictureChange, TrafficReport } from "../../src/admin/contract-live.ts";
import { routesAt, ROUTES } from "../../src/admin/routes.ts";
import { messageMisfits, misfits, type Answered } from "../support/conform.ts";
import type { DaemonUnderTest, Ending } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  explainReplica,
  prepareCluster,
  startAll,
  stateOf,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";

type Document = Readonly<Record<string, unknown>>;

interface Asked {
  readonly method?: string;
  readonly body?: unknown;
}

function answerOf(
  { socket }: DaemonUnderTest,
  path: string,
  { method = "GET", body }: Asked,
): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const asked = request({ socketPath: socket, path, method, agent: false }, (answer) => {
    let text = "";
    answer.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    answer.on("end", () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }));
  });
  asked.on("error", reject);
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

/** Asks daemons, holds each answer against the document, and remembers which routes were asked. */
class Auditor {
  readonly document: Document;
  readonly asked = new Set<string>();

  constructor(document: Document) {
    this.document = document;
  }

  async ask(host: DaemonUnderTest, path: string, how: Asked = {}): Promise<Answered> {
    const { method = "GET" } = how;
    const answer = await answerOf(host, path, how);
    const bare = path.replace(/\?.*/, "");
    for (const route of routesAt(bare)) if (route.method === method) this.asked.add(route.id);
    assert.deepEqual(misfits(this.document, { method, path: bare }, answer), [], `${path}: ${answer.body}`);
    return answer;
  }

  /** Asks all that reads and needs no name, and all that has a name of something here. */
  async readAll(host: DaemonUnderTest): Promise<void> {
    const names = [
      "members/host-1",
      "members/host-3",
      "services/web",
      "services/default/web",
      "services/dead",
      "networks/default",
      "explain/web",
      "explain/dead",
      "explain/nobody",
      "resolve?name=web",
      "resolve?name=tasks.web&type=A",
      "resolve?name=_web._tcp.web&type=SRV",
      "resolve?name=nobody",
      "resolve?name=web&as=nobody",
      "resolve?name=web&type=WHAT",
    ];
    const lists = ["status", "members", "services", "networks", "events", "drains", "members?limit=1"];
    const slow = ["doctor", "traffic", "traffic?scope=cluster", "traffic?scope=x", "openapi.json"];
    const paths = [...lists, ...names, ...slow].map((path) => `/api/v1/${path}`);
    const others = ["/healthz", "/readyz", "/metrics", "/", "/dashboard/app.js", "/api/v1/members?limit=0"];
    for (const path of [...paths, ...others]) {
      await this.ask(host, path);
      await this.ask(host, path, { method: "HEAD" });
    }
  }
}

/** The messages of a stream, as they came, each fitting its schema. */
function watch(t: Ending, { socket }: DaemonUnderTest, document: Document) {
  const messages: { readonly kind: string; readonly told: unknown }[] = [];
  const schemas: Readonly<Record<string, string>> = {
    picture: "Picture",
    change: "PictureChange",
    traffic: "TrafficReport",
  };
  let text = "";
  const asked = request({ socketPath: socket, path: "/api/v1/watch", agent: false }, (answer) => {
    answer.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const frames = text.split("\n\n");
      text = frames.pop() ?? "";
      for (const frame of frames) {
        const [, kind = "", data = ""] = /^event: (\w+)\ndata: (.*)$/s.exec(frame) ?? [];
        if (kind !== "") messages.push({ kind, told: JSON.parse(data) });
      }
    });
    answer.on("error", () => undefined);
  });
  asked.on("error", () => undefined);
  asked.end();
  t.after(() => asked.destroy());
  const of = (kind: string): readonly unknown[] =>
    messages.filter((one) => one.kind === kind).map(({ told }) => told);
  return {
    pictures: () => of("picture") as readonly Picture[],
    changes: () => of("change") as readonly PictureChange[],
    traffic: () => of("traffic") as readonly TrafficReport[],
    misfits: () => messages.flatMap(({ kind, told }) => messageMisfits(document, schemas[kind] ?? "", told)),
  };
}

test("cluster: the admin API says what its document says", async (t) => {
  const { block, hosts } = await prepareCluster(t, { role: "manager" });
  const [first, second, third] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  const dead = { name: "dead", ports: [{ name: "x", port: 9 }], replicas: [`${block.address(1, 99)}:9`] };
  const publish = ["18088:8000/tcp"];
  first.configure({ services: [webService([one], { http: [{ host: "web.test" }], publish }), dead] });
  second.configure({ services: [webService([two])] });
  await startAll(hosts);
  await untilServing(hosts, [one, two]);
  const auditor = new Auditor((await first.get("/api/v1/openapi.json")) as Document);
  const stream = watch(t, first, auditor.document);

  await t.test("while all is well, asked at each host", async () => {
    for (const host of hosts) await auditor.readAll(host);
    const picture = await until(() => stream.pictures()[0]);
    assert.deepEqual([picture.members.length, picture.services.length], [3, 2]);
    assert.deepEqual((await until(() => stream.traffic()[0])).scope, "cluster");
  });

  await t.test("of a replica that drains and comes back, and its watcher sees the drain", async () => {
    const { id } = await until(() => explainReplica(first, two.address));
    const drains = "/api/v1/drains";
    const begun = await auditor.ask(first, drains, { method: "POST", body: { replica: id, wait: true } });
    assert.equal(begun.status, 200, begun.body);
    const lines = JSON.parse((await auditor.ask(third, drains)).body) as readonly DrainLine[];
    assert.deepEqual(
      lines.map(({ replica, node, service }) => ({ replica, node, service })),
      [{ replica: id, node: "host-2", service: "default/web" }],
    );
    await until(() => stream.changes().some((change) => change.drains?.[0]?.applied === true));
    await auditor.readAll(first);
    await auditor.ask(first, drains, { method: "POST", body: { replica: id, wait: false, undo: true } });
    await until(() => stream.changes().some((change) => change.drains?.length === 0));
  });

  await t.test("of a host that drains and comes back", async () => {
    const path = "/api/v1/members/host-2/drain";
    await auditor.ask(first, path, { method: "POST", body: { wait: true } });
    await auditor.readAll(first);
    await auditor.ask(first, path, { method: "POST", body: { undo: true } });
  });

  await t.test("of networks, tokens and the authority, rightly and wrongly asked", async () => {
    const asked: readonly (readonly [string, Asked])[] = [
      ["networks", { method: "POST", body: { name: "app" } }],
      ["networks", { method: "POST", body: { name: "UP per" } }],
      ["networks", { method: "POST", body: { name: "other", subnet: "8.8.8.0/24" } }],
      ["networks/app", {}],
      ["networks/app", { method: "DELETE" }],
      ["networks/none", { method: "DELETE" }],
      ["tokens/worker", {}],
      ["tokens/manager", { method: "POST" }],
      ["tokens/king", {}],
      ["authority/backup", { method: "POST", body: { passphrase: "a long enough passphrase" } }],
      ["authority/backup", { method: "POST", body: { passphrase: "short" } }],
      ["authority/restore", { method: "POST", body: { backup: "x", passphrase: "y" } }],
      ["authority/restore", { method: "POST", body: {} }],
      ["authority/rotate", { method: "POST" }],
      ["join", { method: "POST", body: { host: `${block.address(1, 98)}:1`, token: "SKTKN-x" } }],
      ["join", { method: "POST", body: "no object" }],
      ["drains", { method: "POST", body: { replica: "nobody", wait: false } }],
      ["drains", { method: "POST", body: { replica: "x".repeat(20_000), wait: false } }],
      ["members/nobody/drain", { method: "POST", body: {} }],
      ["members/nobody", { method: "DELETE" }],
      ["handover", { method: "POST" }],
      ["leave", { method: "POST", body: { force: "yes" } }],
    ];
    for (const [path, how] of asked) await auditor.ask(first, `/api/v1/${path}`, how);
    for (const method of ["PUT", "PATCH", "OPTIONS"]) await auditor.ask(first, "/api/v1/status", { method });
    await auditor.ask(first, "/nowhere");
  });

  await t.test("of a host that died, and of one that leaves", async () => {
    await third.end("SIGKILL");
    await until(async () => (await stateOf(first, "host-3")) === "dead");
    await until(() => {
      return stream.changes().some((change) => change.members?.set.some(({ state }) => state === "dead"));
    });
    await auditor.readAll(first);
    await auditor.ask(first, "/api/v1/members/host-3", { method: "DELETE" });
    await auditor.ask(second, "/api/v1/leave", { method: "POST" });
    await until(() =>
      stream.changes().some(({ members }) => members?.set.some(({ state }) => state === "left")),
    );
    await auditor.readAll(first);
  });

  await t.test("and every route was asked; every message of the stream fits", () => {
    // The stream of `watch` was read as what it is.
    const missed = ROUTES.map(({ id }) => id).filter((id) => id !== "watch" && !auditor.asked.has(id));
    assert.deepEqual(missed, []);
    assert.ok(stream.changes().length >= 4);
    assert.deepEqual(stream.misfits(), []);
  });
});
