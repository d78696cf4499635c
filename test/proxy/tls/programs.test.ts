// Programs: certificates made by OpenSSL, clients that people have. A program that is missing is a visible skip.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";

import { httpReplica, pool, upstream } from "../fixtures.ts";

import { ADDRESS, serveHttps, type Serving } from "./fixtures.ts";

const run = promisify(execFile);

function missing(...programs: readonly string[]): string | false {
  const absent = programs.filter((program) => spawnSync(program, ["version"]).error !== undefined);
  return absent.length === 0 ? false : `${absent.join(" and ")} not installed`;
}

/** An ingress for `app.example` with a certificate of an authority of its own; the authority's file. */
async function withAuthority(
  t: TestContext,
  keyArguments: readonly string[],
): Promise<Serving & { readonly authority: string }> {
  const replica = await httpReplica(t, (request, response) =>
    response.end(`${request.method} ${request.url}`),
  );
  const routes = [{ host: "app.example", path: "/", pool: pool([upstream("a", replica)]) }];
  const serving = await serveHttps(t, { routes }, {});
  const openssl = (...options: readonly string[]): Promise<unknown> =>
    run("openssl", options, { cwd: serving.folder });
  const create = ["req", "-x509", "-nodes", "-days", "30", ...keyArguments];
  await openssl(...create, "-keyout", ".authority.key", "-out", ".authority.crt", "-subj", "/CN=authority");
  const names = [
    "-addext",
    "subjectAltName=DNS:app.example",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
  ];
  const signed = ["-CA", ".authority.crt", "-CAkey", ".authority.key", "-subj", "/CN=app", ...names];
  await openssl(...create, ...signed, "-keyout", "app.key", "-out", "app.crt");
  await chmod(join(serving.folder, "app.key"), 0o600);
  await serving.certificates.refresh();
  assert.deepEqual(serving.certificates.problems, []);
  return { ...serving, authority: join(serving.folder, ".authority.crt") };
}

for (const [kind, options] of [
  ["RSA", ["-newkey", "rsa:2048"]],
  ["ECDSA", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]],
  ["Ed25519", ["-newkey", "ed25519"]],
] as const) {
  test(
    `programs: curl trusts a certificate of OpenSSL (${kind}), over HTTP/2 and HTTP/1.1`,
    { skip: missing("openssl", "curl") },
    async (t) => {
      const { port, authority } = await withAuthority(t, options);
      const curl = async (...more: readonly string[]): Promise<string> => {
        const shared = [
          "-sS",
          "-m",
          "20",
          "--cacert",
          authority,
          "--resolve",
          `app.example:${port}:${ADDRESS}`,
        ];
        const url = `https://app.example:${port}/x`;
        const { stdout } = await run("curl", [
          ...shared,
          "-w",
          " %{http_version} %{http_code}",
          ...more,
          url,
        ]);
        return stdout;
      };
      assert.equal(await curl("--http2"), "GET /x 2 200");
      assert.equal(await curl("--http1.1"), "GET /x 1.1 200");
      assert.equal(await curl("--http2", "-X", "POST", "-d", "y=1"), "POST /x 2 200");
      assert.match(await curl("--http2", "-I"), /^HTTP\/2 200 [^]* 2 200$/);
    },
  );
}

test(
  "programs: openssl s_client agrees on versions, and sees the alert for a name that nobody serves",
  { skip: missing("openssl") },
  async (t) => {
    const { port, authority, folder, certificates } = await withAuthority(t, ["-newkey", "rsa:2048"]);
    const client = async (...options: readonly string[]): Promise<string> => {
      const to = ["s_client", "-connect", `${ADDRESS}:${port}`, "-CAfile", authority, ...options];
      const child = run("openssl", to);
      child.child.stdin?.end();
      const { stdout, stderr } = await child.catch((thrown: { stdout: string; stderr: string }) => thrown);
      return stdout + stderr;
    };
    assert.match(
      await client("-servername", "app.example", "-tls1_2", "-verify_hostname", "app.example"),
      /Verification: OK/,
    );
    assert.match(await client("-servername", "app.example", "-tls1_3", "-alpn", "h2"), /ALPN protocol: h2/);
    assert.match(await client("-servername", "app.example", "-tls1_1"), /alert protocol version/);
    for (const name of ["app.crt", "app.key"]) await rm(join(folder, name));
    await certificates.refresh();
    assert.match(await client("-servername", "app.example"), /unrecognized name/);
  },
);
