// Ports, published ports and routes as text: one grammar for labels, config and records.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Result } from "../../src/base/failure.ts";
import {
  EMPTY_DECLARATION,
  httpPortOf,
  isPort,
  parsePublishedPort,
  parseRouteHost,
  parseRoutePath,
  parseServicePort,
  transportOf,
} from "../../src/model/service.ts";

import { label, port } from "./arbitraries.ts";

function value<T>(result: Result<T>): T {
  assert.ok(result.ok, result.ok ? "" : result.failure.message);
  return result.value;
}

test("service port: the four forms of the interface", () => {
  const read = (text: string) => value(parseServicePort("port", text));
  assert.deepEqual(read("80"), { name: "tcp-80", port: 80, target: 80, protocol: "tcp" });
  assert.deepEqual(read("web=8080"), { name: "web", port: 8080, target: 8080, protocol: "tcp" });
  assert.deepEqual(read("80:8080/tcp"), { name: "tcp-80", port: 80, target: 8080, protocol: "tcp" });
  assert.deepEqual(read("53/udp"), { name: "udp-53", port: 53, target: 53, protocol: "udp" });
  assert.deepEqual(read(" Web=80:8080/http "), { name: "web", port: 80, target: 8080, protocol: "http" });
});

test("service port: every part that is given comes out", () => {
  const name = fc.option(label);
  const protocol = fc.option(fc.constantFrom("tcp", "udp", "http"));
  fc.assert(
    fc.property(name, fc.option(port), port, protocol, (name, port, target, protocol) => {
      const text = `${name === null ? "" : `${name}=`}${port === null ? "" : `${port}:`}${target}`;
      const read = value(parseServicePort("port", protocol === null ? text : `${text}/${protocol}`));
      const number = port ?? target;
      assert.deepEqual(read, {
        name: name ?? `${protocol ?? "tcp"}-${number}`,
        port: number,
        target,
        protocol: protocol ?? "tcp",
      });
    }),
  );
});

test("service port: what is no port is refused with the thing, the value and the form", () => {
  const bad = [
    "",
    "0",
    "65536",
    "80/sctp",
    "80/TCP",
    "a=b",
    "=80",
    "80:",
    ":80",
    "1:2:3",
    "-1",
    "8o",
    "-a=80",
    "80,81",
  ];
  for (const text of [...bad, "99999999999999999999", `${"a".repeat(64)}=80`, "1e3", "80 /tcp"]) {
    const parsed = parseServicePort('label "skein.port"', text);
    assert.ok(!parsed.ok, text);
    assert.ok(
      parsed.failure.message.startsWith(`label "skein.port" is "${text}"; expected`),
      parsed.failure.message,
    );
  }
});

test("published port: published first, then the service's, as Compose and Swarm write it", () => {
  const read = (text: string) => value(parsePublishedPort("publish", text));
  assert.deepEqual(read("8088:80/tcp"), { published: 8088, port: 80, protocol: "tcp", mode: "ingress" });
  assert.deepEqual(read("5353:53/udp"), { published: 5353, port: 53, protocol: "udp", mode: "ingress" });
  assert.deepEqual(read("host:8088:80"), { published: 8088, port: 80, protocol: "tcp", mode: "host" });
  assert.deepEqual(read("80"), { published: 80, port: 80, protocol: "tcp", mode: "ingress" });
});

test("published port: every part that is given comes out", () => {
  const protocol = fc.option(fc.constantFrom("tcp", "udp"));
  fc.assert(
    fc.property(fc.boolean(), port, fc.option(port), protocol, (isHost, published, inner, protocol) => {
      const text = `${isHost ? "host:" : ""}${published}${inner === null ? "" : `:${inner}`}`;
      assert.deepEqual(
        value(parsePublishedPort("publish", protocol === null ? text : `${text}/${protocol}`)),
        {
          published,
          port: inner ?? published,
          protocol: protocol ?? "tcp",
          mode: isHost ? "host" : "ingress",
        },
      );
    }),
  );
});

test("published port: what is none is refused", () => {
  for (const text of [
    "",
    "0:80",
    "80:0",
    "65536",
    "80/http",
    "ingress:80:80",
    "80:80:80",
    "127.0.0.1:80:80",
    "a:80",
  ])
    assert.equal(parsePublishedPort("publish", text).ok, false, text);
});

test("route host: a name, with a star only in front, in lower case", () => {
  assert.equal(value(parseRouteHost("host", " App.Example.COM ")), "app.example.com");
  assert.equal(value(parseRouteHost("host", "*.example.com")), "*.example.com");
  const bad = [
    "",
    "*",
    "*.",
    "a..b",
    ".a",
    "a.",
    "a.*.b",
    "-a",
    "a-",
    "a b",
    "a/b",
    "a:80",
    "ä.de",
    "a".repeat(254),
  ];
  for (const text of bad) assert.equal(parseRouteHost("host", text).ok, false, text);
});

test("route host: a hostile text costs no time worth speaking of", () => {
  for (const text of [
    `${"a".repeat(250)}!`,
    `${"a.".repeat(126)}!`,
    `${"a-".repeat(126)}!`,
    "-".repeat(100_000),
  ])
    assert.equal(parseRouteHost("host", text).ok, false);
});

test("route path: a prefix that starts with a slash, without query or fragment", () => {
  for (const text of ["/", "/api", "/a%20b", "/ä"]) assert.equal(value(parseRoutePath("path", text)), text);
  for (const text of ["", "api", "/a b", "/a?b", "/a#b", `/${"a".repeat(1024)}`])
    assert.equal(parseRoutePath("path", text).ok, false, text);
});

test("http port: the first http one, else the first TCP one, else none", () => {
  const ports = (...protocols: ("tcp" | "udp" | "http")[]) => ({
    ...EMPTY_DECLARATION,
    ports: protocols.map((protocol, index) => ({ name: `p${index}`, port: index + 1, target: 1, protocol })),
  });
  assert.equal(httpPortOf(ports("udp", "tcp", "http"))?.port, 3);
  assert.equal(httpPortOf(ports("udp", "tcp", "tcp"))?.port, 2);
  assert.equal(httpPortOf(ports("udp")), null);
  assert.equal(httpPortOf(EMPTY_DECLARATION), null);
});

test("port: whole numbers in 1..65535; http is carried by TCP", () => {
  for (const number of [1, 80, 65_535]) assert.ok(isPort(number));
  for (const number of [0, -1, 65_536, 1.5, NaN, Infinity]) assert.equal(isPort(number), false);
  assert.deepEqual([transportOf("tcp"), transportOf("http"), transportOf("udp")], ["tcp", "tcp", "udp"]);
});
