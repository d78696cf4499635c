/**
 * Limits: every bound on what a peer, client, label or file can make us hold or do.
 *
 * In one table, so that a reader can add them up. Each has its unit in its name and its reason beside it. What goes
 * past a bound is refused and counted, never queued.
 *
 * Pure.
 */

export const LIMITS = {
  /** A name in DNS: one label (RFC 1035 2.3.4). */
  labelBytes: 63,
  /** A whole DNS name in text form (RFC 1035 2.3.4: 255 octets on the wire). */
  nameBytes: 253,

  /** Ports of one service: more is a mistake in a range, and each costs a listener per host. */
  portsPerService: 64,
  /** Aliases, routes and published ports of one service. */
  namesPerService: 64,
  /** Replicas a host may publish: Docker itself slows down well below. */
  replicasPerNode: 10_000,
  /** Entries (replicas, claims, the node itself) of one owner's log, tombstones included. */
  entriesPerOwner: 40_000,
  /** Owners whose logs a node holds; members seen in a cluster's life, until forgotten. */
  ownersMax: 6_000,
  /** One record's body as JSON text: a service with every list full fits. */
  recordBytes: 32 * 1024,

  /** One gossip frame: also the WebSocket `maxPayload`. */
  frameBytes: 1024 * 1024,
  /** Entries put in one delta frame are cut at this size, well below a frame. */
  deltaBytes: 256 * 1024,
  /** A link with more than this unsent gets no pushes; repair covers what it missed. */
  linkBufferedBytes: 4 * 1024 * 1024,
  /** A link with more than this unsent is closed: the peer does not read. */
  linkOverfullBytes: 16 * 1024 * 1024,
  /** Links at once, strangers that have not said hello included. */
  linksMax: 512,
  /** Relayed streams at once through one daemon, each two sockets. */
  streamsMax: 16_384,

  /** Client connections at once over all TCP frontends of a daemon. */
  clientConnectionsMax: 32_768,
  /** A request head (RFC 9112 sets none; nginx takes 32 kB in all). */
  httpHeadBytes: 32 * 1024,
  /** A request body kept so that an idempotent request can be sent again. */
  httpReplayBytes: 64 * 1024,
  /** Ejections remembered at once by one proxy. */
  ejectionsMax: 65_536,

  /** Queries being forwarded at once; more are answered SERVFAIL. */
  dnsForwardsMax: 1024,
  /** Finished answers kept. */
  dnsCacheEntries: 16_384,
  /** Idle or busy DNS connections over TCP, in all and from one address. */
  dnsConnectionsMax: 1024,
  dnsConnectionsPerAddress: 64,

  /** Events kept for `skein events` and the API. */
  eventsKept: 1024,
  /** One line of Docker's event stream. */
  dockerEventBytes: 1024 * 1024,
  /** A config or state file. */
  fileBytes: 64 * 1024 * 1024,
} as const;
