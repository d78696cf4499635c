// Containers: which are endpoints, where they are reached, and what each may see.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  isCandidate,
  planContainer,
  planContainers,
  type DockerPlanOptions,
} from "../../../src/source/docker/container.ts";
import type { ContainerFacts } from "../../../src/source/docker/facts.ts";
import { facts, idOf, labels, TIMES } from "./fixture.ts";

const OPTIONS: DockerPlanOptions = { exposeByDefault: false, health: TIMES };
const ALL: DockerPlanOptions = { ...OPTIONS, exposeByDefault: true };

/** An engine with two networks, nothing leading out of one. */
const ENGINE = {
  stopping: new Set<string>(),
  internalByName: new Map([
    ["bridge", false],
    ["sealed", true],
  ]),
  overlays: new Set(["app", "back"]),
};

const plan = (over: Partial<ContainerFacts> = {}, options = OPTIONS) => {
  const planned = planContainer(facts(over), options, { engine: ENGINE, stopping: false, host: null });
  return { ...planned, endpoint: planned.endpoints[0] ?? null };
};

const discovered = (entries: Readonly<Record<string, string>>, options = OPTIONS) =>
  plan({ labels: labels(entries) }, options).endpoint !== null;

test("container: any label of ours makes it an endpoint; skein.enable=false always wins", () => {
  assert.ok(discovered({ "skein.enable": "true" }));
  assert.ok(discovered({ "skein.port": "80" }));
  assert.ok(discovered({ "skein.unknown": "x" }));
  assert.ok(discovered({ "skein.enable": "maybe", "skein.port": "80" }));
  assert.ok(!discovered({ "skein.enable": "false", "skein.port": "80" }));
  assert.ok(!discovered({}));
  assert.ok(!discovered({ "com.docker.compose.service": "web" }));
});

test("container: with exposeByDefault those without a label are endpoints when they EXPOSE a port", () => {
  assert.ok(discovered({}, ALL));
  assert.ok(!discovered({ "skein.enable": "false" }, ALL));
  assert.equal(plan({ labels: labels({}), exposed: [] }, ALL).endpoint, null);
  assert.deepEqual(plan({ labels: labels({}), exposed: [] }, ALL).problems, []);
});

test("container: a one-off run of a Compose service is a client, unless it says skein.enable=true itself", () => {
  const oneOff = { "com.docker.compose.oneoff": "True", "skein.port": "80" };
  assert.ok(!discovered(oneOff));
  assert.ok(!discovered(oneOff, ALL));
  assert.equal(plan({ labels: labels(oneOff) }).clients.length, 1);
  assert.ok(discovered({ ...oneOff, "skein.enable": "true" }));
  assert.ok(!isCandidate(facts({ labels: labels(oneOff), networks: ["app"] }), true, ENGINE.overlays));
});

test("container: an endpoint is known by its short id and called like the container, as a label", () => {
  const { endpoint } = plan({ name: "My.App_1" });
  assert.equal(endpoint?.id, "aaaaaaaaaaaa");
  assert.equal(endpoint?.name, "my-app_1");
  assert.equal(endpoint?.service, "my-app_1");
  assert.equal(endpoint?.reach, "stream");
  assert.deepEqual([endpoint?.startedAtMs, endpoint?.declaredAtMs], [1000, 1000]);
});

test("container: of several networks the one called like its Skein network is used, else the first by name", () => {
  const attachments = [
    { network: "alpha", address: "10.0.0.1" },
    { network: "plain", address: "10.0.0.2" },
    { network: "shop_back", address: "10.0.0.3" },
  ];
  const address = (entries: Readonly<Record<string, string>>) =>
    plan({ attachments, labels: labels({ "skein.enable": "true", ...entries }) }).endpoint?.address;
  assert.equal(address({}), "10.0.0.1");
  assert.equal(address({ "skein.network": "plain" }), "10.0.0.2");
  assert.equal(address({ "skein.network": "back", "com.docker.compose.project": "shop" }), "10.0.0.3");
  assert.equal(address({ "skein.network": "elsewhere" }), "10.0.0.1");
});

test("container: one on the host's network is reached on loopback, and asks for names as the host does", () => {
  const { endpoint, clients } = plan({ networkMode: "host", attachments: [] });
  assert.equal(endpoint?.address, "127.0.0.1");
  assert.equal(endpoint?.reach, "stream");
  assert.deepEqual(clients, []);
});

test("container: one on another container's network is reached where that one is", () => {
  const guest = facts({ id: idOf("b"), name: "app", networkMode: `container:${idOf("a")}`, attachments: [] });
  const { endpoints, clients } = planContainers([guest, facts()], ENGINE, OPTIONS);
  assert.deepEqual(
    endpoints.map((endpoint) => endpoint.address),
    ["172.17.0.2", "172.17.0.2"],
  );
  assert.equal(clients.length, 1);
  assert.equal(planContainers([guest], ENGINE, OPTIONS).endpoints.length, 0);
});

test("container: without an address it is no endpoint yet; that is a problem only where it is wanted as one", () => {
  const wanted = plan({ attachments: [], networkMode: "none" });
  assert.equal(wanted.endpoint, null);
  assert.match(wanted.problems[0]?.text ?? "", /no address on any network \(mode "none"\)/);
  assert.deepEqual(plan({ attachments: [], labels: labels({}) }).problems, []);
});

test("container: it is paused, stopping or gone as Docker says; a stop signal counts for more than a pause", () => {
  assert.equal(plan({ state: "paused" }).endpoint?.lifecycle, "paused");
  const engine = { ...ENGINE, stopping: new Set([idOf("a")]) };
  const stopping = planContainers([facts({ state: "paused" })], engine, OPTIONS);
  assert.equal(stopping.endpoints[0]?.lifecycle, "stopping");
  assert.deepEqual(plan({ state: "gone" }), { endpoint: null, endpoints: [], clients: [], problems: [] });
});

test("container: one with an address is a client, of its own network first, then of those it is attached to", () => {
  const attachments = [
    { network: "bridge", address: "172.17.0.2" },
    { network: "Not A Label", address: "10.0.0.3" },
    { network: "plain", address: "10.0.0.1" },
  ];
  const { clients } = plan({ attachments, labels: labels({}) });
  assert.deepEqual(clients, [
    { address: "172.17.0.2", name: "web-1", networks: ["default", "plain"], isolated: false },
    { address: "10.0.0.3", name: "web-1", networks: ["default", "plain"], isolated: false },
    { address: "10.0.0.1", name: "web-1", networks: ["default", "plain"], isolated: false },
  ]);
  const labelled = plan({ attachments, labels: labels({ "skein.network": "back" }) });
  assert.deepEqual(labelled.clients[0]?.networks, ["back", "plain"]);
  assert.equal(labelled.clients[0]?.labelled, true);
});

test("container: on overlay networks it sees these and not the default one, the one it was made with first", () => {
  const attachments = ["alpha", "app", "back"].map((network) => ({ network, address: "10.160.0.2" }));
  const over = { attachments, networks: ["alpha", "app", "back"], networkMode: "back", exposed: [] };
  const networks = (entries: Readonly<Record<string, string>>) =>
    plan({ ...over, labels: labels(entries) }).clients[0]?.networks;
  assert.deepEqual(networks({}), ["back", "app", "alpha"]);
  assert.deepEqual(networks({ "skein.network": "app" }), ["app", "back", "alpha"]);
  assert.deepEqual(networks({ "skein.network": "default" }), ["default", "back", "app", "alpha"]);
});

test("container: on an overlay network it is an endpoint there without a label, if it EXPOSEs a port", () => {
  const on = (network: string, over: Partial<ContainerFacts> = {}) => {
    const attachments = [{ network, address: "10.160.3.2" }];
    return plan({ labels: labels({}), networks: [network], networkMode: network, attachments, ...over })
      .endpoint;
  };
  const endpoint = on("app");
  assert.deepEqual([endpoint?.network, endpoint?.reach, endpoint?.service], ["app", "overlay", "web-1"]);
  assert.equal(on("plain"), null);
  assert.equal(on("app", { exposed: [] }), null);
  assert.equal(on("app", { labels: labels({ "skein.enable": "false" }) }), null);
});

test("container: on two overlay networks it is a copy in each, and its published ports are of one of them", () => {
  const attachments = [
    { network: "app", address: "10.160.3.2" },
    { network: "back", address: "10.161.3.2" },
  ];
  const entries = { "skein.port": "80", "skein.publish": "8080:80", "skein.http.host": "a.test" };
  const over = { attachments, networks: ["app", "back"], networkMode: "back", labels: labels(entries) };
  const told = plan(over).endpoints.map(({ id, network, address, declaration: { publish, http } }) => {
    return [id, network, address, publish.length, http.length];
  });
  assert.deepEqual(told, [
    ["aaaaaaaaaaaa", "back", "10.161.3.2", 1, 1],
    ["aaaaaaaaaaaa.app", "app", "10.160.3.2", 0, 0],
  ]);
});

test("container: one that is on internal networks only is isolated, at each of its addresses", () => {
  const attachments = [
    { network: "sealed", address: "10.0.0.1" },
    { network: "sealed", address: "fd00::1" },
  ];
  const isolated = (...networks: string[]) =>
    plan({ attachments, networks, labels: labels({}) }).clients.map((client) => client.isolated);
  assert.deepEqual(isolated("sealed"), [true, true]);
  assert.deepEqual(
    isolated("bridge", "sealed"),
    [false, false],
    "by the other one it may ask outside itself",
  );
  assert.deepEqual(isolated("made-just-now", "sealed"), [true, true], "until that is known to lead out");
});

test("container: problems name it, and do not stop it from being served", () => {
  const { endpoint, problems } = plan({ labels: labels({ "skein.port": "80", "skein.prot": "x" }) });
  assert.equal(endpoint?.declaration.ports.length, 1);
  assert.deepEqual(problems, [
    { subject: "container web-1", text: 'label "skein.prot" is unknown; did you mean "skein.port"?' },
  ]);
});

test("containers: the set is the same whatever order they come in, and names stay apart", () => {
  const names = ["a.b", "a-b", "A_b", "a b", "web"];
  const all = names.map((name, index) =>
    facts({ id: idOf(String(index)), name, labels: labels({ "skein.service": "same" }) }),
  );
  const whole = planContainers(all, ENGINE, OPTIONS);
  assert.equal(new Set(whole.endpoints.map((endpoint) => endpoint.name)).size, names.length);
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
      assert.deepEqual(planContainers(shuffled, ENGINE, OPTIONS), whole);
    }),
  );
});

test("container: on an overlay network it hides services of its name and aliases; elsewhere it hides none", () => {
  const on = (network: string) =>
    plan({
      name: "shop_Web_1",
      networks: [network],
      attachments: [{ network, address: "10.1.0.2", aliases: ["Web", "aaaaaaaaaaaa"] }],
    }).clients[0]?.hides;
  assert.deepEqual(on("app"), ["app/shop_web_1", "app/web", "app/aaaaaaaaaaaa"]);
  assert.equal(on("shop_default"), undefined);
});
