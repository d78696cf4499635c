/**
 * Frontends: what is to listen, and what is done with whoever comes.
 *
 * One place that knows all kinds of listeners: a service's port by its protocol, the ingress by host and path. Each
 * finds its lane anew for every connection or request, so a new table counts at once and no listener is ever opened
 * again for it.
 *
 * Touches: sockets, through the servers it makes.
 */

import type { Server } from "node:net";

import type { Random } from "../base/random.ts";

import type { Lane, Traffic } from "./choice/attempts.ts";
import type { HttpForwarder } from "./http/forwarder.ts";
import { createHttpServer, type Found } from "./http/http.ts";
import { indexRoutes, matchRoute, type RouteIndex } from "./http/match.ts";
import { Lanes } from "./lanes.ts";
import type { Arrivals } from "./listen/arrival.ts";
import type { Connections } from "./listen/connections.ts";
import { serverListener, type Endings, type Listener } from "./listen/listener.ts";
import type { WantedListener } from "./listen/listeners.ts";
import type { Frontend, Ingress, IngressRoute, Pool, RouteTable } from "./routes.ts";
import { createTcpServer } from "./tcp/tcp.ts";
import type { Udp } from "./udp/udp.ts";
import type { Certificates } from "./tls/certificates.ts";
import { openHttps, type Passthrough } from "./tls/https.ts";

/** What frontends need. */
export interface FrontendsOptions {
  readonly traffic: Traffic;
  readonly connections: Connections;
  readonly udp: Udp;
  readonly forwarder: HttpForwarder;
  readonly random: Random;
  /** True for an address whose word on who called counts. */
  readonly isTrusted: (address: string) => boolean;
  readonly isClosing: () => boolean;
  /** This node's name in Via. */
  readonly pseudonym: string;
  /** Reads who called where a trusted proxy tells it in front of a connection. */
  readonly arrivals: Arrivals;
  /** What HTTPS is served with; null where no folder of certificates is configured. */
  readonly certificates: Certificates | null;
}

/** The frontends of one proxy. */
export class Frontends {
  readonly #options: FrontendsOptions;
  readonly #lanes: Lanes;
  #routes: RouteIndex = indexRoutes([]);
  /** Hosts whose TLS passes unopened, as routes of everything below them. */
  #passed: RouteIndex = indexRoutes([]);
  readonly #passthrough: Passthrough = passthroughIn(
    () => this.#passed,
    (route) => this.#lanes.ofRoute(route),
  );

  constructor(options: FrontendsOptions) {
    this.#options = options;
    this.#lanes = new Lanes(options.random);
  }

  /** Makes the table's pools the ones that whoever comes from now on is led to. */
  set(table: RouteTable): void {
    this.#lanes.set(table);
    this.#routes = indexRoutes(table.ingress?.routes ?? []);
    const passed = table.ingress?.passthrough ?? [];
    this.#passed = indexRoutes(passed.map((route) => ({ ...route, path: "/" })));
  }

  get pools(): readonly Pool[] {
    return this.#lanes.pools;
  }

  /** The listeners that a table asks for. */
  wantedBy(table: RouteTable): readonly WantedListener[] {
    const wanted = table.frontends.flatMap((frontend) => this.#frontend(frontend));
    return table.ingress === null ? wanted : [...wanted, ...this.#ingress(table.ingress)];
  }

  #frontend(frontend: Frontend): readonly WantedListener[] {
    const { kind, origin, address, port, pool } = frontend;
    const lane = (): Lane | null => this.#lanes.ofFrontend(frontend);
    const wanted = { kind, address, port, service: pool.service };
    switch (kind) {
      case "tcp":
        return [{ ...wanted, create: () => this.#open(origin, createTcpServer({ ...this.#options, lane })) }];
      case "http": {
        const find = (): Found => foundOr(lane(), 503, `service ${pool.service} has left`);
        return [{ ...wanted, create: () => this.#open(origin, this.#http(find)) }];
      }
      case "udp":
        return [{ ...wanted, create: () => this.#options.udp.listener({ service: pool.service, lane }) }];
    }
  }

  #ingress({ address, port, httpsPort, passthrough }: Ingress): readonly WantedListener[] {
    const find = (host: string, target: string): Found => {
      const route = matchRoute(this.#routes, host, target);
      const lane = route === null ? null : this.#lanes.ofRoute(route);
      return foundOr(lane, 404, "no service is routed for this host and path");
    };
    const wanted: WantedListener[] = [];
    const shared = { kind: "http", address, service: null } as const;
    if (port !== null) {
      wanted.push({ ...shared, port, create: () => this.#open("ingress", this.#http(find)) });
    }
    if (httpsPort !== null && (this.#options.certificates !== null || passthrough.length > 0)) {
      wanted.push({ ...shared, port: httpsPort, create: () => this.#https(find) });
    }
    return wanted;
  }

  /** Who comes to a VIP is of this cluster: nobody stands in front of it. */
  #open(origin: Frontend["origin"] | "ingress", server: Server, endings?: Endings): Listener {
    return serverListener(origin === "vip" ? server : this.#options.arrivals.guard(server), endings);
  }

  #http(find: (host: string, target: string) => Found): Server {
    return createHttpServer({ ...this.#options, find, proto: "http" });
  }

  #https(find: (host: string, target: string) => Found): Listener {
    const https = openHttps({
      ...this.#options,
      http: { ...this.#options, find, proto: "https" },
      passthrough: this.#passthrough,
    });
    return this.#open("ingress", https.server, https);
  }
}

/** Passthrough as it is at each moment. */
function passthroughIn(routes: () => RouteIndex, laneOf: (route: IngressRoute) => Lane | null): Passthrough {
  return {
    get isEmpty() {
      const { exact, wildcard } = routes();
      return exact.size + wildcard.size === 0;
    },
    find(host) {
      const route = matchRoute(routes(), host, "/");
      return route === null ? null : { lane: laneOf(route) };
    },
  };
}

function foundOr(lane: Lane | null, status: 404 | 503, reason: string): Found {
  return lane === null ? { lane, status, reason } : { lane };
}
