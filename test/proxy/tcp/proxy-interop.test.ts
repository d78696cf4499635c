// The PROXY protocol as others speak it: HAProxy in front of ours and behind it, nginx behind it.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { openFolder } from "../../support/folder.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import { ask, Client, pool, serveOne, tcpReplica, upstream } from "../fixtures.ts";

/** Why a test that needs a program is skipped; false when it is there. */
function lacks(program: string): string | false {
  return spawnSync(program, ["-v"]).error === undefined ? false : `no ${program} here; install ${program}`;
}

/** Runs a program on a config file until the test ends; settles when it takes connections. */
async function run(
  t: TestContext,
  program: string,
  {
    config,
    args,
    port,
  }: { readonly config: string; readonly args: readonly string[]; readonly port: number },
): Promise<void> {
  const folder = await openFolder(t);
  await writeFile(join(folder, "config"), config.replaceAll("FOLDER", folder));
  const child = spawn(program, [...args, join(folder, "config")], { stdio: ["ignore", "ignore", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  await until(
    async () => {
      assert.equal(child.exitCode, null, said);
      return takesConnections(port);
    },
    { what: `${program} to listen` },
  );
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

const HAPROXY_DEFAULTS = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";

function haproxy(t: TestContext, port: number, config: string): Promise<void> {
  return run(t, "haproxy", { config: HAPROXY_DEFAULTS + config, args: ["-db", "-f"], port });
}

for (const [version, sends] of [
  ["1", "send-proxy"],
  ["2", "send-proxy-v2"],
] as const) {
  test(
    `interop: HAProxy in front tells us by version ${version} who called it`,
    { skip: lacks("haproxy") },
    async (t) => {
      // By connection: the one that found HAProxy listening may reach the replica after ours.
      const received: string[] = [];
      const replica = await tcpReplica(t, (socket) => {
        const at = received.push("") - 1;
        socket.on("data", (chunk: Buffer) => (received[at] += chunk.toString("latin1")));
      });
      const to = pool([upstream("a", replica, { proxyProtocol: "v1" })]);
      const { port } = await serveOne(t, "tcp", to, {
        trustedProxies: ["127.0.0.1"],
        proxyProtocol: "required",
      });
      const front = await closedPort();
      const listen = `listen front\n mode tcp\n bind 127.0.0.1:${front}\n server skein 127.0.0.1:${port} ${sends}\n`;
      await haproxy(t, front, listen);
      const { socket } = new Client(t, front);
      socket.write("hello");
      const got = await until(() => received.find((text) => text.endsWith("hello")));
      assert.match(
        got,
        new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 ${socket.localPort} ${front}\r\nhello$`),
      );
    },
  );
}

/** Asks through our proxy a replica that answers who called it and where, and looks whether it was us. */
async function isToldBy(t: TestContext, version: "v1" | "v2", replica: number): Promise<void> {
  const to = pool([upstream("a", replica, { proxyProtocol: version })]);
  const { port } = await serveOne(t, "tcp", to);
  const client = new Client(t, port);
  await client.ask("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n", (text) =>
    text.includes(" to "),
  );
  const told = `127.0.0.1:${client.socket.localPort} to ${port}`;
  assert.ok(client.text.includes(told), `${client.text} has ${told}`);
}

test(
  "interop: HAProxy behind us is told by either version who called us",
  { skip: lacks("haproxy") },
  async (t) => {
    const port = await closedPort();
    const answer = 'lf-string "%[src]:%[src_port] to %[dst_port]"';
    await haproxy(
      t,
      port,
      `frontend back\n mode http\n bind 127.0.0.1:${port} accept-proxy\n` +
        ` http-request return status 200 content-type text/plain ${answer}\n`,
    );
    for (const version of ["v1", "v2"] as const) await isToldBy(t, version, port);
  },
);

test(
  "interop: nginx behind us is told by either version who called us",
  { skip: lacks("nginx") },
  async (t) => {
    const [port, plain] = [await closedPort(), await closedPort()];
    const answer = "$proxy_protocol_addr:$proxy_protocol_port to $proxy_protocol_server_port";
    const config =
      "daemon off; master_process off; pid FOLDER/pid; error_log stderr; events {}\n" +
      "http { access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;\n" +
      " fastcgi_temp_path FOLDER/fastcgi; uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;\n" +
      ` server { listen 127.0.0.1:${port} proxy_protocol; listen 127.0.0.1:${plain};\n` +
      ` return 200 "${answer}"; } }\n`;
    await run(t, "nginx", { config, args: ["-c"], port: plain });
    assert.equal((await ask(plain)).status, 200);
    for (const version of ["v1", "v2"] as const) await isToldBy(t, version, port);
  },
);
