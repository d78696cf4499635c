// Lookups: what a name means to whom, by the answers that it leads to and beyond them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { copyNames, lookUp, type Asker } from "../../../src/dns/names/lookup.ts";
import { planZone } from "../../../src/dns/names/zone.ts";
import { OPTIONS, replica, replicas, service, view } from "../fixture.ts";
import { ask, HOST, on, said, zone } from "../names.ts";

const kindOf = (name: string, asker: Asker = HOST) => lookUp(zone, name, asker).kind;

test("lookup: each form of a name has one meaning", () => {
  const kinds = {
    web: "service",
    "web.shop.default.skein.internal": "service",
    "tasks.web": "tasks",
    "web-1.web": "copies",
    "1.web": "copies",
    "_web._tcp.web": "port",
    "_tcp.web": "between",
    "shop.skein.internal": "between",
    "skein.internal": "apex",
    "host-1.node.skein.internal": "node",
    both: "ambiguous",
    "tasks.both": "ambiguous",
    "_web._tcp.both": "ambiguous",
    "nothing.skein.internal": "missing",
    "_udp.web.skein.internal": "missing",
    "example.com": "foreign",
    "_web._tcp.example.com": "foreign",
    _tcp: "foreign",
    "_udp.web": "foreign",
  };
  for (const [name, kind] of Object.entries(kinds)) assert.equal(kindOf(name), kind, name);
});

test("lookup: an ambiguous name tells the networks that the asker sees it in", () => {
  assert.deepEqual(lookUp(zone, "both", HOST), { kind: "ambiguous", networks: ["blue", "green"] });
  assert.equal(kindOf("both", on("green")), "service");
  assert.equal(kindOf("both", on("default")), "missing");
});

test("lookup: a copy of a service that several networks have does not leave, and others below its name do", () => {
  const db = (network: string, net: number) => {
    const copies = replicas(network === "blue" ? "db" : "other", 2, net);
    return service(network, "db", { replicas: copies });
  };
  const doubled = planZone(view([db("blue", 2), db("green", 3)]), OPTIONS);
  const of = (name: string, asker: Asker = HOST) => lookUp(doubled, name, asker);
  assert.deepEqual(of("db-1.db"), { kind: "ambiguous", networks: ["blue"] });
  assert.deepEqual(of("1.db"), { kind: "ambiguous", networks: ["blue", "green"] });
  assert.deepEqual(of("1.db", on("default", "green", "blue")), {
    kind: "ambiguous",
    networks: ["blue", "green"],
  });
  assert.equal(of("db-1.db.blue").kind, "copies");
  assert.equal(of("db-1.db", on("blue")).kind, "copies");
  assert.equal(of("db-1.db", on("green", "blue")).kind, "foreign", "its own has no such copy");
  for (const name of ["www.db", "3.db", "a.db-1.db"]) assert.equal(of(name).kind, "foreign", name);
  assert.equal(of("www.db.skein.internal").kind, "missing");
});

test("lookup: names and slots of copies outrank ids, and ids are names, too", () => {
  const copies = [
    replica("one", "10.0.0.1", { id: "aaa", slot: 7 }),
    replica("aaa", "10.0.0.2", { id: "bbb" }),
    replica("7", "10.0.0.3", { id: "ccc" }),
    replica("four", "10.0.0.4", { id: "ddd" }),
  ];
  const named = planZone(view([service("default", "web", { replicas: copies })]), OPTIONS);
  const of = (name: string) => {
    const meaning = lookUp(named, name, HOST);
    return meaning.kind === "copies" ? meaning.copies.map(({ id }) => id) : [];
  };
  assert.deepEqual(of("aaa.web"), ["bbb"]);
  assert.deepEqual(of("7.web"), ["ccc"]);
  assert.deepEqual(of("ddd.web.default.skein.internal"), ["ddd"]);
});

test("lookup: a copy's full name is its own, or its id where the name is not its alone and the id is a label", () => {
  const copies = [
    replica("web-1", "10.0.0.1", { id: "aaa" }),
    replica("web-1", "10.0.0.2", { id: "no.label" }),
    replica("web-2", "10.0.0.3", { id: "ccc" }),
  ];
  const named = planZone(view([service("default", "web", { replicas: copies })]), OPTIONS);
  const [entry] = named.services;
  assert.ok(entry !== undefined);
  const labels = entry.instances.map(copyNames(named, entry)).map((name) => name.split(".")[0]);
  assert.deepEqual(labels, ["aaa", "web-1", "web-2"]);
});

test("lookup: a container sees its networks only, its own first", () => {
  assert.equal(said(ask("web", on("blue"))), "10.2.255.1");
  assert.equal(said(ask("web", on("blue", "default"))), "10.2.255.1");
  assert.equal(said(ask("web", on("default", "blue"))), "10.1.255.1");
  assert.equal(said(ask("web.default", on("blue", "default"))), "10.1.255.1");
  assert.equal(said(ask("web", on("green"))), "NXDOMAIN");
  assert.equal(said(ask("web.default.skein.internal", on("green"))), "NXDOMAIN");
  assert.equal(said(ask("web", on())), "NXDOMAIN");
});

test("lookup: a name in two other networks is ambiguous and NXDOMAIN; with its network it is not", () => {
  assert.equal(said(ask("both")), "NXDOMAIN");
  assert.equal(said(ask("both.skein.internal")), "NXDOMAIN");
  assert.equal(said(ask("both.green")), "10.3.255.3");
  assert.equal(said(ask("both", on("default", "green"))), "10.3.255.3");
  assert.equal(said(ask("both", on("default", "green", "blue"))), "NXDOMAIN");
});

test("lookup: a name that one other network has is found there", () => {
  assert.equal(said(ask("api")), "10.2.255.2");
  assert.equal(said(ask("api.back")), "10.2.255.2");
});

test("lookup: foreign names go upstream, even below a label that is also a service's", () => {
  for (const name of ["www.example.com", "example.com", "x.app", "localhost", "", "web.nowhere", "a.b.web"]) {
    assert.equal(said(ask(name)), "forward", name);
  }
  assert.equal(said(ask("web.default", on("green"))), "forward");
  assert.equal(said(ask("notskein.internal")), "forward");
});

test("lookup: a single label that another network has never leaves the cluster", () => {
  assert.equal(said(ask("app", on("default"))), "NXDOMAIN");
  assert.equal(said(ask("unheard-of", on("default"))), "forward");
});

test("lookup: names between the domain and a service exist, for those who see what is below", () => {
  for (const name of ["default", "node", "shop", "shop.default", "blue", "back"]) {
    assert.equal(said(ask(`${name}.skein.internal`)), "nodata", name);
  }
  for (const name of ["blue", "back", "back.blue"]) {
    assert.equal(said(ask(`${name}.skein.internal`, on("default"))), "NXDOMAIN", name);
  }
});

test("lookup: while the picture is incomplete a short name that is not known does not leave, and others do", () => {
  const young = planZone(view([service("blue", "web")], { complete: false }), OPTIONS);
  const of = (name: string, asker: Asker = HOST) => lookUp(young, name, asker).kind;
  for (const name of ["api", "api.default", "api.blue", "api.shop.blue"])
    assert.equal(of(name), "missing", name);
  assert.equal(of("web.blue"), "service");
  assert.equal(of("api.green", on("green")), "missing");
  for (const name of ["api.green", "www.example.com", ""]) assert.equal(of(name), "foreign", name);
});
