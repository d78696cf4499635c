/**
 * Forwarder: sends requests to upstreams over connections of our own.
 *
 * The half of an HttpForwarder that every request needs, without node:http's client beneath it: that one makes a
 * stream, an agent's queue and a parser's calls of each request, some three times the work of all the rest. Here a
 * request is one string, and its answer is read where it arrives.
 *
 * Touches: connections, through its pools.
 */

import { Failure } from "../../../base/failure.ts";
import { renderHostPort } from "../../../base/ip.ts";

import type { Attempt, HttpForwarder, Joiner } from "../forwarder.ts";

import type { UpstreamPools } from "./pool.ts";
import { renderRequest } from "./request.ts";
import { Turn } from "./turn.ts";

/** Opens a forwarder that sends plain requests itself and leaves WebSockets to another. */
export function openWireForwarder(pools: UpstreamPools, webSockets: Joiner): HttpForwarder {
  return {
    upgrade: (upstream, socket, exchange, events) => webSockets.upgrade(upstream, socket, exchange, events),

    send(upstream, exchange, events): Attempt {
      const { method, freshness, caller } = exchange;
      const head = renderRequest(exchange, () =>
        renderHostPort({ host: upstream.address, port: upstream.port }),
      );
      if (typeof head === "string") {
        let isWanted = true;
        const cause = new Failure("invalid", `request: ${head}`);
        queueMicrotask(() => {
          if (isWanted) events.failed({ end: "unsendable", cause, wasSent: false });
        });
        return { abandon: () => void (isWanted = false) };
      }
      const turn = new Turn(method, head, events);
      const given = pools.acquire(upstream, { freshness, caller }, turn);
      if ("kind" in given) turn.waits(given);
      else turn.ready(given);
      return turn;
    },
  };
}
