// Secrets: with everything on that talks, nothing that a cluster says of itself holds a key or a token of it.

import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";

import { ROUTES } from "../../src/admin/routes.ts";
import { startCollector } from "../proxy/trace/collector.ts";
import { httpGet, type DaemonUnderTest } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import { INGRESS_PORT, prepareCluster, startAll, webReplicas, webService } from "./cluster.ts";

/** Whose answer is a secret, for who has full rights. */
const TELLS_ONE: ReadonlySet<string> = new Set(["/api/v1/tokens/{role}"]);

/** A secret in every form that it could be written in. */
function formsOf(secret: Buffer): readonly string[] {
  const forms = (["hex", "base64", "base64url"] as const).map((form) =>
    secret.toString(form).replace(/=+$/, ""),
  );
  return [...forms, (forms[0] ?? "").toUpperCase(), secret.toString("latin1")];
}

/** The private keys in a folder: as they stand in their files, and what they come to. */
function keysIn(folder: string): readonly Buffer[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  return files.flatMap((file) => {
    if (!statSync(file).isFile()) return [];
    const pems = readFileSync(file, "latin1").match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END/g) ?? [];
    return pems.flatMap((pem) => {
      const key = createPrivateKey(`${pem}${pem.slice(10, pem.indexOf("\n")).replace(/-*$/, "-----")}`);
      const scalar = key.export({ format: "jwk" }).d ?? "";
      const body = pem.split("\n").slice(1, -1);
      return [Buffer.from(scalar, "base64url"), ...body.slice(0, 1).map((line) => Buffer.from(line))];
    });
  });
}

/** What a route answers, whatever the status; of a stream what comes at once. */
function answerOf(host: DaemonUnderTest, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: host.socket, path, agent: false }, (response) => {
      let text = JSON.stringify(response.headers);
      const isStream = response.headers["content-type"]?.startsWith("text/event-stream") === true;
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (isStream) response.destroy();
      });
      response.on("close", () => resolve(text));
    });
    asked.on("error", reject);
    asked.setTimeout(15_000, () => asked.destroy(new Error(`${path}: no answer`)));
    asked.end();
  });
}

const PARAMETERS: Readonly<Record<string, string>> = {
  "/api/v1/members/{name}": "/api/v1/members/host-2",
  "/api/v1/services/{network}/{name}": "/api/v1/services/default/web",
  "/api/v1/resolve": "/api/v1/resolve?name=web",
};

function pathOf(path: string): string {
  return PARAMETERS[path] ?? path.replace("{name}", "web").replace("{file}", "app.js");
}

test("secrets: no route, metric, log, span or command tells a key or a token, whole or encoded", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [replica] = (await webReplicas(t, block, [1])).flat();
  assert.ok(replica !== undefined);
  const [adminToken, collectorKey] = ["an-admin-token-that-is-secret", "a-key-of-the-collector"];
  const keyFile = join(first.dir, "collector-headers");
  writeFileSync(keyFile, `x-key=${collectorKey}\n`);
  const collector = await startCollector(t);
  const endpoint = `http://127.0.0.1:${collector.port}`;
  for (const [host, format] of [
    [first, "json"],
    [second, "text"],
  ] as const) {
    host.configure({
      log: { format, level: "debug" },
      admin: { token: adminToken },
      tracing: { endpoint, sample: 1, headersFile: keyFile },
      ...(host === first && { services: [webService([replica], { http: [{ host: "app.example.com" }] })] }),
    });
  }
  await startAll([first, second]);
  await until(
    async () => (await httpGet(first.address, INGRESS_PORT, { host: "app.example.com" })).status === 200,
  );
  await until(() => collector.spans().length > 1);
  assert.equal(collector.heads[0]?.headers["x-key"], collectorKey, "the collector is told its own");

  const tokens = await Promise.all(
    ["worker", "manager"].map(async (role) => (await first.cli("token", role, "-q")).stdout.trim()),
  );
  const keys = [first, second].flatMap((host) => keysIn(host.dataDir));
  assert.ok(keys.length >= 4, `${keys.length} keys in two data dirs`);
  const words = [
    ...tokens,
    ...tokens.map((token) => token.split("-").at(-1) ?? ""),
    adminToken,
    collectorKey,
  ];
  const secrets = [...words.map((word) => Buffer.from(word)), ...keys];

  const reads = ROUTES.filter(({ method, path }) => method === "GET" && !TELLS_ONE.has(path));
  const said = new Map<string, string>([
    ["log of host-1", first.log()],
    ["log of host-2", second.log()],
    ["spans", JSON.stringify(collector.batches)],
  ]);
  for (const { path } of reads) said.set(path, await answerOf(first, pathOf(path)));
  for (const words of [["status", "-o", "json"], ["doctor"], ["config", "print", "--config", first.file]]) {
    const ran = await first.cli(...words);
    said.set(words.join(" "), `${ran.stdout}${ran.stderr}`);
  }
  assert.match(said.get("log of host-1") ?? "", /^\{"level":"debug"/m);
  assert.match(said.get("/api/v1/status") ?? "", /host-1/);
  for (const [what, text] of said) {
    for (const [at, secret] of secrets.entries()) {
      assert.ok(secret.length >= 10);
      for (const form of formsOf(secret)) assert.ok(!text.includes(form), `${what} tells secret ${at}`);
    }
  }
});
