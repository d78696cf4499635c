// HTTPS: a whole daemon with a folder of certificates and a service whose TLS passes unopened, as users configure it.

import assert from "node:assert/strict";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer as createHttpsServer, request } from "node:https";
import type { Server } from "node:net";
import { mkdirSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";

import type { DoctorReport } from "../../src/admin/contract-doctor.ts";
import type { StatusReport } from "../../src/admin/contract.ts";
import { makePair } from "../support/certificate.ts";
import { daemonFor, openBlock } from "../support/daemons.ts";
import { DEADLINE_MS, until, within } from "../support/wait.ts";

async function listen(t: TestContext, server: Server, host: string): Promise<void> {
  server.listen(9001, host);
  await once(server, "listening");
  t.after(() => server.close());
}

/** What a client gets for a host, and the names in the certificate that it is shown. */
async function get(address: string, host: string): Promise<readonly [string, string]> {
  const asked = request({
    host: address,
    port: 8443,
    servername: host,
    headers: { host },
    rejectUnauthorized: false,
    agent: false,
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  asked.end();
  const [response] = (await within(once(asked, "response"), "an answer")) as [IncomingMessage];
  const names = (response.socket as TLSSocket).getPeerCertificate().subjectaltname ?? "";
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return [text, names];
}

test("https: a daemon serves routes with the certificates of its folder, and passes the TLS of others", async (t) => {
  const block = await openBlock(t);
  const [web, db] = [block.address(9, 1), block.address(9, 2)];
  await listen(
    t,
    createHttpServer((_request, response) => response.end("web")),
    web,
  );
  const own = makePair({ hosts: ["db.example"] });
  const tls = { cert: own.certificate, key: own.key };
  await listen(
    t,
    createHttpsServer(tls, (_request, response) => response.end("db")),
    db,
  );
  let folder = "";
  const config = (dir: string) => {
    folder = join(dir, "certificates");
    mkdirSync(folder);
    const pair = makePair({ hosts: ["web.example"] });
    writeFileSync(join(folder, "web.pem"), pair.certificate + pair.key, { mode: 0o600 });
    const port = (protocol: string): unknown => [{ name: "web", port: 443, target: 9001, protocol }];
    return {
      ingress: { address: block.address(1), certificates: folder },
      services: [
        {
          name: "web",
          ports: port("http"),
          replicas: [`${web}:9001`],
          http: [{ host: "web.example", path: "/" }],
        },
        { name: "db", ports: port("tcp"), replicas: [`${db}:9001`], passthrough: ["db.example"] },
      ],
    };
  };
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool, config });
  await daemon.start();
  await until(async () => (await get(daemon.address, "web.example"))[0] === "web");
  assert.deepEqual(await get(daemon.address, "web.example"), ["web", "DNS:web.example"]);
  await until(async () => (await get(daemon.address, "db.example"))[0] === "db");
  assert.deepEqual(await get(daemon.address, "db.example"), ["db", "DNS:db.example"]);

  writeFileSync(join(folder, "broken.crt"), makePair().certificate);
  const status = async (): Promise<StatusReport> => (await daemon.get("/api/v1/status")) as StatusReport;
  const [problem] = await until(async () => {
    const found = (await status()).problems.filter(({ area }) => area === "tls");
    return found.length > 0 && found;
  });
  assert.equal(problem?.subject, join(folder, "broken.crt"));
  assert.match(problem?.text ?? "", /^broken\.key cannot be read: there is no such file; it is not served$/);
  assert.ok((await status()).listen.ingress.includes(`${daemon.address}:8443`));
  const { checks } = (await daemon.get("/api/v1/doctor")) as DoctorReport;
  assert.ok(checks.some(({ area, state }) => area === "tls" && state === "warn"));
});
