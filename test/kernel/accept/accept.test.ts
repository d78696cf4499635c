// Docker lets pass what we lead to containers, wherever we lead anything, and is left alone otherwise.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { openAccept } from "../../../src/kernel/accept/accept.ts";
import type { Accepted, DockerUser } from "../../../src/kernel/accept/docker-user.ts";
import type { Applied } from "../../../src/kernel/part.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";

const NOTHING = { changes: 0, problems: [] };
const WANTED = { isWanted: true };
const UNWANTED = { isWanted: false };
const MAY = { mayRemove: true };

/** A chain that notes what it is told. */
class FakeChain implements DockerUser {
  readonly calls: string[] = [];
  said: Accepted = { changes: 1, problems: [], passes: { v4: true, v6: true } };

  async accept(): Promise<Accepted> {
    this.calls.push("accept");
    return this.said;
  }

  async remove(): Promise<Applied> {
    this.calls.push("remove");
    return { changes: 1, problems: this.said.problems };
  }
}

describe("accept with a fake chain", () => {
  it("is told once, and again with each repair", async () => {
    const chain = new FakeChain();
    const accept = openAccept(chain);
    await accept.apply(WANTED, MAY);
    assert.deepEqual(await accept.apply(WANTED, MAY), NOTHING);
    await accept.repair();
    assert.deepEqual(chain.calls, ["accept", "accept"]);
  });

  it("what an earlier life left goes where nothing is led, but not while not all is known", async () => {
    const chain = new FakeChain();
    const accept = openAccept(chain);
    await accept.apply(UNWANTED, { mayRemove: false });
    assert.deepEqual(chain.calls, []);
    await accept.apply(UNWANTED, MAY);
    await accept.apply(UNWANTED, MAY);
    await accept.repair();
    assert.deepEqual(chain.calls, ["remove"]);
  });

  it("what could not be taken away is tried again with each repair, until it is gone", async () => {
    const chain = new FakeChain();
    const accept = openAccept(chain);
    chain.said = { ...chain.said, problems: ["the lock is held"] };
    assert.deepEqual((await accept.apply(UNWANTED, MAY)).problems, ["the lock is held"]);
    assert.deepEqual(
      (await accept.apply(UNWANTED, MAY)).problems,
      ["the lock is held"],
      "it goes on being told",
    );
    chain.said = { ...chain.said, problems: [] };
    for (let times = 0; times < 2; times += 1) assert.deepEqual((await accept.repair()).problems, []);
    assert.deepEqual(chain.calls, ["remove", "remove"]);
  });

  it("where Docker cannot be told it goes on being said, by family, until it could", async () => {
    const chain = new FakeChain();
    const accept = openAccept(chain);
    assert.deepEqual(accept.passes, { v4: true, v6: true }, "nothing is known against it");
    chain.said = { changes: 0, problems: ["a chain cannot be read"], passes: { v4: false, v6: true } };
    await accept.apply(WANTED, MAY);
    assert.deepEqual((await accept.apply(WANTED, MAY)).problems, ["a chain cannot be read"]);
    assert.deepEqual(accept.passes, { v4: false, v6: true });
    chain.said = { changes: 1, problems: [], passes: { v4: true, v6: true } };
    await accept.repair();
    assert.deepEqual(accept.passes, { v4: true, v6: true });
  });
});

describe("accept on a Docker host", { skip: await whyNotApart(["nft", "iptables", "conntrack"]) }, () => {
  it("without overlay networks too, a client of the LAN reaches the container that the rules lead it to", async () => {
    await runApart(join(import.meta.dirname, "host.ts"));
  });
});
