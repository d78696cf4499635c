// Holder: who listens where, read from /proc.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";

import { describeHolder, inodeAt, readListening } from "../../src/proxy/holder.ts";

test("readListening: finds a listener by its exact address and port; its holder is named", async (t) => {
  const server = createServer();
  server.listen({ host: "127.0.0.3", port: 0 });
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const listening = await readListening();
  const inode = inodeAt(listening, { address: "127.0.0.3", port });
  assert.match(inode ?? "", /^\d+$/);
  assert.match(await describeHolder(inode ?? ""), new RegExp(`\\(pid ${process.pid}\\)$`));
  assert.equal(inodeAt(listening, { address: "127.0.0.4", port }), null);
});

test("inodeAt: a wildcard of either family holds the port for every address", () => {
  const listening = new Map([[`${"0".repeat(32)}:1F90`, "7"]]);
  assert.equal(inodeAt(listening, { address: "0.0.0.0", port: 8080 }), "7");
  assert.equal(inodeAt(listening, { address: "::", port: 8080 }), "7");
  assert.equal(inodeAt(listening, { address: "127.0.0.1", port: 8080 }), null);
});

test("describeHolder: a socket that nobody we may look at holds belongs to another process", async () => {
  assert.equal(await describeHolder("0"), "another process");
});
