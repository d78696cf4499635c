// The dashboard's files over real sockets: under a strict policy, asked again cheaply, and nothing but them.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";

import { askSocket, askTcp, codeOf, folder, openDoors, type Doors } from "./doors.ts";

const PAGE = "<!doctype html><title>Skein</title>";

async function withDashboard(t: TestContext): Promise<Doors & { readonly dir: string }> {
  const dir = await folder(t);
  await writeFile(join(dir, "index.html"), PAGE);
  await writeFile(join(dir, "app.js"), "// \u{1f9f6}\n");
  await writeFile(join(dir, "app.css"), "body{}");
  await writeFile(join(dir, "icon.svg"), "<svg/>");
  await writeFile(join(dir, "app.js.map"), "{}");
  await writeFile(join(dir, "notes.txt"), "x");
  return { ...(await openDoors(t, { dashboardDir: dir })), dir };
}

test("assets: the page and what it loads come with their types, under a policy for nothing else", async (t) => {
  const doors = await withDashboard(t);
  const types: Readonly<Record<string, string>> = {
    "/": "text/html; charset=utf-8",
    "/dashboard/app.js": "text/javascript; charset=utf-8",
    "/dashboard/app.css": "text/css; charset=utf-8",
    "/dashboard/icon.svg": "image/svg+xml",
  };
  for (const [path, type] of Object.entries(types)) {
    for (const ask of [askSocket, askTcp]) {
      const { status, headers } = await ask(doors, path);
      assert.deepEqual([status, headers["content-type"]], [200, type]);
      const policy = headers["content-security-policy"] ?? "";
      for (const part of [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
      ])
        assert.ok(String(policy).includes(part), part);
      assert.doesNotMatch(String(policy), /unsafe|\*|http/);
      assert.equal(headers["x-content-type-options"], "nosniff");
    }
  }
  assert.equal((await askTcp(doors, "/")).body, PAGE);
  assert.equal((await askTcp(doors, "/dashboard/app.js")).body, "// \u{1f9f6}\n");
});

test("assets: a browser that has a file is told so, and gets a new one as soon as it is other", async (t) => {
  const doors = await withDashboard(t);
  const first = await askTcp(doors, "/");
  const etag = first.headers.etag ?? "";
  assert.equal(first.headers["cache-control"], "no-cache");
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
    const again = await askTcp(doors, "/", { headers: { "if-none-match": known } });
    assert.deepEqual([again.status, again.body, again.headers.etag], [304, "", etag]);
  }
  await writeFile(join(doors.dir, "index.html"), `${PAGE}<p>`);
  const next = await askTcp(doors, "/", { headers: { "if-none-match": etag } });
  assert.deepEqual([next.status, next.body], [200, `${PAGE}<p>`]);
  const head = await askTcp(doors, "/", { method: "HEAD" });
  assert.deepEqual([head.status, head.body, head.headers.etag], [200, "", next.headers.etag]);
});

test("assets: nothing but the page's files is told, in whatever way it is asked for", async (t) => {
  const doors = await withDashboard(t);
  for (const name of [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/app.js",
    "..%5capp.js",
    "app.js%00.css",
    "app.js.map",
    "notes.txt",
    ".hidden.js",
    "APP.JS",
    "constructor.js",
    "a.constructor",
    `${"a".repeat(300)}.js`,
  ]) {
    const answer = await askTcp(doors, `/dashboard/${name}`);
    assert.deepEqual([answer.status, codeOf(answer)], [404, "not-found"], name);
  }
});

test("assets: without a built dashboard the page says how to build it, and the API works on", async (t) => {
  const doors = await openDoors(t, { dashboardDir: join(await folder(t), "none") });
  const answer = await askTcp(doors, "/");
  assert.equal(answer.status, 404);
  assert.match(answer.body, /npm run build/);
  assert.equal((await askTcp(doors, "/api/v1/status")).status, 200);
});

test("assets: another site can link to the page, and neither load nor frame it", async (t) => {
  const doors = await withDashboard(t);
  const asked = (mode: string, dest: string) =>
    askTcp(doors, "/", {
      headers: { "sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "sec-fetch-dest": dest },
    });
  const link = await asked("navigate", "document");
  assert.equal(link.status, 200);
  assert.match(String(link.headers["content-security-policy"]), /frame-ancestors 'none'/);
  assert.equal((await asked("no-cors", "script")).status, 403);
});

test("assets: who takes gzip gets what the build made of a file; whoever does not, and else, the file", async (t) => {
  const doors = await withDashboard(t);
  const packed = gzipSync("// \u{1f9f6}\n");
  await writeFile(join(doors.dir, "app.js.gz"), packed);
  const ask = (encodings: string, more: Readonly<Record<string, string>> = {}) =>
    askTcp(doors, "/dashboard/app.js", { headers: { "accept-encoding": encodings, ...more } });
  const plain = await ask("br");
  for (const encodings of ["gzip", "br, GZIP;q=0.5", "*"]) {
    const { headers } = await ask(encodings);
    assert.deepEqual(
      [headers["content-encoding"], headers["content-length"], headers.vary, headers["content-type"]],
      ["gzip", String(packed.length), "accept-encoding", "text/javascript; charset=utf-8"],
      encodings,
    );
    assert.notEqual(headers.etag, plain.headers.etag, "two forms are two things to a cache");
    const again = await ask(encodings, { "if-none-match": headers.etag ?? "" });
    assert.deepEqual([again.status, again.headers.vary], [304, "accept-encoding"]);
  }
  for (const encodings of ["", "br", "gzip;q=0", "gzip;q=0, *", "xgzip"]) {
    const { headers, body } = await ask(encodings);
    assert.deepEqual([headers["content-encoding"], headers.vary], [undefined, "accept-encoding"], encodings);
    assert.equal(body, "// \u{1f9f6}\n");
  }
  const { headers } = await askTcp(doors, "/dashboard/app.css", { headers: { "accept-encoding": "gzip" } });
  assert.equal(headers["content-encoding"], undefined, "what has no packed form goes out as it is");
});
