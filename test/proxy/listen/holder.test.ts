// Holder: who listens where, read from /proc.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { survey } from "../../../src/proxy/listen/holder.ts";

async function listen(t: TestContext, host: string): Promise<number> {
  const server = createServer();
  server.listen({ host, port: 0 });
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test("survey: finds a listener by its exact address and port, and names the process that holds it", async (t) => {
  const port = await listen(t, "127.0.0.3");
  const seen = await survey();
  const inode = seen.inodeAt({ address: "127.0.0.3", port });
  assert.match(inode ?? "", /^\d+$/);
  assert.match(await seen.describeHolder(inode ?? ""), new RegExp(`\\(pid ${process.pid}\\)$`));
  for (const address of ["127.0.0.4", "0.0.0.0", "::", "fd00::1"]) {
    assert.equal(seen.inodeAt({ address, port }), null, address);
  }
});

test("survey: finds a listener on every address of either family", async (t) => {
  for (const address of ["0.0.0.0", "::"]) {
    const port = await listen(t, address);
    assert.notEqual((await survey()).inodeAt({ address, port }), null, address);
  }
});

test("survey: a socket that nobody we may look at holds belongs to another process", async () => {
  assert.equal(await (await survey()).describeHolder("0"), "another process");
});
