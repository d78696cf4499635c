/**
 * Limits: every bound on what a peer, client, label or file can make us hold or do.
 *
 * In one table, so that a reader can add them up. Each has its unit in its name and its reason beside it. What goes
 * past a bound is refused and counted, never queued.
 *
 * Pure.
 */

export const LIMITS = {
  /** The longest wait that a service may ask for: a day, in milliseconds. */
  policyMs: 86_400_000,
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
  /** VIP claims of services that ran here once, kept so that they get their address back. */
  claimsRemembered: 20_000,
  /** Members named that have not applied a drain: enough to know where to look. */
  drainPendingMax: 16,
  /** Slices of networks that this node had once, kept so that it gets them back. */
  slicesRemembered: 1024,
  /** Addresses and slices let go in the last ten minutes: a thousand services a minute come and go. */
  quarantined: 10_000,
  /** Addresses of one service, and of all, that are served though no longer advertised: each costs listeners. */
  aliasVipsPerService: 4,
  aliasVips: 1024,
  /** IPv6 addresses of services that are gone, left on loopback for connections that are still there. */
  vip6Spare: 256,
  /** Prefixes that a node publishes of its routing table; a host with a bridge for each stack has some dozens. */
  prefixesPerNode: 128,
  /** Slices of one network's range: as many as there may be nodes, and a power of two. */
  slicesPerNetwork: 8192,
  /** Overlay networks at once: each costs every host a bridge, a tunnel and a route to each other host. */
  networksMax: 256,
  /** Decisions on networks remembered, removals included: some 150 bytes each in every manager's log. */
  networkDecisionsMax: 1024,
  /** Entries (replicas, claims, the node itself) of one owner's log, tombstones included. */
  entriesPerOwner: 40_000,
  /** Keys and bodies of one owner's log: 10,000 replicas with every list short fit. */
  ownerBytes: 16 * 1024 * 1024,
  /** Of an owner's log, kept for its word on its own life and its certificate: what is published leaves it free. */
  ownerReservedBytes: 16 * 1024,
  ownerReservedEntries: 8,
  /** Parts of a log that wait for its seal, on one link: a whole log and what frames add to it; and on all links. */
  stagedBytesPerLink: 17 * 1024 * 1024,
  stagedBytes: 34 * 1024 * 1024,
  /** Keys and bodies of all logs; past it nothing more is taken from peers but what takes no more room. */
  storeBytes: 128 * 1024 * 1024,
  /** Listeners of one proxy, as far as file descriptors allow: each costs one. */
  listenersMax: 4096,
  /** Owners whose logs a node holds; members seen in a cluster's life, until forgotten. */
  ownersMax: 6_000,
  /** One record's body as JSON text: a service with every list full fits. */
  recordBytes: 32 * 1024,

  /** A certificate in DER: ours have about 500 bytes. */
  certificateBytes: 4 * 1024,
  /** Authorities of one cluster, retired ones included: one in some years, each about 1 KiB in every manager's log. */
  rootsMax: 16,
  /** Removed nodes remembered at once, each until its last certificate has ended: some forty a day. */
  revokedMax: 4096,

  /** A record's key: the longest of ours, a claim's, has two labels in it. */
  recordKeyBytes: 200,
  /** A replica's id in a message. */
  replicaIdBytes: 80,
  /** Members that a message to one of them has passed through: far more than any way over a finger ring has. */
  hopsMax: 64,

  /** One gossip frame: also the WebSocket `maxPayload`. */
  frameBytes: 1024 * 1024,
  /** Entries put in one delta frame are cut at this size, well below a frame. */
  deltaBytes: 256 * 1024,
  /** Sent at once to a peer that lacks much; below what a link may have unsent, so that nothing of it is skipped. */
  answerBytes: 3 * 1024 * 1024,
  /** A link with more than this unsent gets no pushes; repair covers what it missed. */
  linkBufferedBytes: 4 * 1024 * 1024,
  /** A link with more than this unsent is closed: the peer does not read. */
  linkOverfullBytes: 16 * 1024 * 1024,
  /** Unsent over all links: past the first, links with more than their part get no pushes; past the other they end. */
  linksBufferedBytes: 8 * 1024 * 1024,
  linksOverfullBytes: 16 * 1024 * 1024,
  /** A frame up to this needs no place while it comes in; all but hellos, digests and deltas are far below. */
  smallFrameBytes: 16 * 1024,
  /** Larger frames in memory at once, over all links: a turn takes one or a few, so more would only wait. */
  largeFramesMax: 4,
  /** Members reached for at once because others asked. */
  favoursMax: 256,
  /** Dials at once: each is a socket that may hang for a second. */
  dialsInFlight: 64,
  /** Links at once, strangers that have not said hello included. */
  linksMax: 512,
  /** Links from one address: the full mesh of 24 hosts behind one address translator, twice over while dials cross. */
  linksPerAddress: 64,
  /** Accepted links of one member: two while dials cross, and as many that it does not know to be dead. */
  linksPerMember: 4,
  /** Accepted links that have not said a word yet: a peer that means it says hello at once. */
  silentLinksMax: 64,
  /** Connections to the mesh port that have not yet said what they want, in all and from one address. */
  meshStrangersMax: 1024,
  meshStrangersPerAddress: 256,
  /** Those of them whose TLS handshake has begun: each costs some 40 KiB, the others only a socket. */
  meshHandshakesMax: 256,
  /** The head of a request on the mesh port: ours have under 400 bytes. */
  meshHeadBytes: 8 * 1024,
  /** A signing request: ours have under 300 bytes. */
  csrBytes: 1024,
  /** The body of a request to join or to renew: a signing request, a secret and a signature in base64. */
  enrolBodyBytes: 8 * 1024,
  /** The answer to it: the charter, with thousands of removed nodes in it, is the most of it. */
  enrolAnswerBytes: 1024 * 1024,
  /** Such requests being answered at once, in all and from one address: each is a short wait for a body. */
  enrolmentsMax: 256,
  enrolmentsPerAddress: 16,
  /** Connections of theirs: fewer, so that one that gave way is forgotten before the next needs its place. */
  joinersMax: 192,
  /** Wrong join secrets in a minute, from one address and from all; then those who failed wait. */
  joinFailuresPerAddress: 10,
  joinFailuresMax: 1000,
  /** Addresses remembered for wrong secrets. */
  joinAddressesMax: 4096,
  /** Members that pass a joiner on to a manager. */
  joinHopsMax: 3,
  /** A backup of the authority: a few keys, and the charter. */
  backupBytes: 2 * 1024 * 1024,

  /** Questions of one member being answered at once: a daemon asks one of each kind a second at most. */
  questionsPerMember: 8,
  /** An answer to one: of the largest, traffic, all that may be told in numbers of full length, some 1.4 MB. */
  questionAnswerBytes: 2 * 1024 * 1024,

  /** Services, replicas and links that one host tells of each second: the busiest, mostly 300 kB of text in all. */
  servicesTold: 1000,
  replicasTold: 2000,
  linksTold: 256,
  /** Links in a report of the whole cluster: those of some 200 hosts, 400 kB. */
  linksReported: 4096,
  /** Hosts asked for their traffic each second; of more each is asked every few seconds. */
  trafficAskedPerSecond: 10,

  /** Relayed streams at once through one daemon, each two sockets. */
  streamsMax: 16_384,
  /** Connections kept ready for streams to one member, and to all: each costs some 40 KiB here and there. */
  readyPerMember: 2,
  readyMax: 256,
  /** Those that one member may keep ready here: its own two, those under way, and a few while it comes back. */
  readyAcceptedPerMember: 8,

  /** Relayed streams of which it is remembered for a moment what their replica was given. */
  receiptsMax: 16_384,
  /** Relayed UDP flows at once, of one stream and of all that a daemon serves: each costs it a socket. */
  relayedFlowsPerStream: 4096,
  relayedFlowsMax: 8192,
  /** Unsent datagrams on a stream of them; beyond it they are dropped, as a full queue of any router does. */
  datagramsBufferedBytes: 512 * 1024,

  /** UDP flows at once over all frontends, as far as file descriptors allow: each costs one. */
  udpFlowsMax: 8192,
  /** Datagrams of one flow kept until it is known whether its replica refuses them, and the longest that is kept. */
  udpKeptPerFlow: 4,
  udpKeptBytes: 1500,
  /** Datagrams that wait in Node for room in the send buffer of one socket. */
  udpSendQueueMax: 256,
  /** Addresses that one wildcard stands for at a UDP frontend, a socket each: a host with so many bridges is large. */
  udpAddressesMax: 256,

  /** Client connections at once over all TCP frontends of a daemon. */
  clientConnectionsMax: 32_768,
  /** A PROXY protocol header with all it says beside addresses: certificates' names take some hundreds of bytes. */
  proxyHeaderBytes: 4096,
  /** Connections that have not said yet who called: a trusted proxy says it at once. */
  arrivalsMax: 1024,
  /** The first message of a TLS client: with keys against quantum computers some 2 kB, with a resumed session 4 kB. */
  clientHelloBytes: 16 * 1024,
  /** Certificates served, and the size of one file of them: a chain is some 5 kB. Each costs some 50 kB of memory. */
  certificatesMax: 1024,
  certificateFileBytes: 64 * 1024,
  /** Requests of one HTTP/2 connection at once; what browsers expect. */
  http2StreamsMax: 128,
  /** Header fields of one HTTP/2 request: a cookie may come in as many as it has parts. */
  http2FieldsMax: 512,
  /** A request head (RFC 9112 sets none; nginx takes 32 kB in all). */
  httpHeadBytes: 32 * 1024,
  /** A request target: RFC 9110 4.1 asks for 8000 at least; longer than what servers behind us read is of no use. */
  httpTargetBytes: 16 * 1024,
  /** Requests of one client connection that wait or are answered; more end it. Browsers pipeline none. */
  httpPipelineMax: 32,
  /** Their heads but for the first: a client need not read an answer to have us keep them. More end the connection. */
  httpPipelineBytes: 128 * 1024,
  /** Heads of interim answers to one request: a short one each second for hours, or many with links. */
  httpInterimBytes: 256 * 1024,
  /** Of them, what may wait for a client that reads nothing, by connection; more are dropped. */
  httpInterimWaitingBytes: 64 * 1024,
  /** A request body kept so that an idempotent request can be sent again. */
  httpReplayBytes: 64 * 1024,
  /** Idle connections kept open to one upstream, so that a burst leaves no crowd of sockets behind. */
  upstreamIdleSocketsMax: 64,
  /** Streams to one upstream of another host being opened at once for HTTP; further requests wait for one. */
  streamDialsMax: 8,
  /** One field of a line of the access log, before it is escaped. */
  accessFieldChars: 512,
  /** Lines of the access log that wait to be written: a second of the busiest proxy, or a short stall of the disk. */
  accessQueueBytes: 4 * 1024 * 1024,
  /** Attempts of one request that its trace tells of; the first ones say why there were so many. */
  spansPerRequest: 16,
  /** Spans in one message to the collector, and their bytes: collectors commonly take 4 MiB. */
  spanBatchMax: 512,
  spanBatchBytes: 1024 * 1024,
  /** Spans that wait to be sent: some seconds of a busy proxy, while the collector restarts. */
  spanQueueBytes: 2 * 1024 * 1024,
  /** What is read of a collector's answer. */
  collectorAnswerBytes: 64 * 1024,
  /** Retries a service may have saved up; an outage is multiplied by at most this many, once. */
  retryTokensMax: 1000,
  /** Ejections remembered at once by one proxy. */
  ejectionsMax: 65_536,
  /** Ejected upstreams probed at once: after an outage of a network all of them are due together. */
  readmissionsMax: 64,

  /** Different queries being forwarded at once; beyond, the oldest are answered SERVFAIL. */
  dnsForwardsMax: 1024,
  /** Of one question those that are one client's alone, by a cookie or a signature; a crowd asks that much at once. */
  dnsForwardsPerQuestion: 64,
  /** Clients' queries that wait for them, identical ones together; and those of one client, who may be a whole host. */
  dnsForwardWaitersMax: 8192,
  dnsForwardWaitersPerClient: 512,
  /** Sockets for them; beyond half of it no second upstream is asked for a query whose first one is slow. */
  dnsExchangesMax: 2048,
  /** Questions remembered for a second as ones that no upstream answers. */
  dnsSilencesMax: 4096,
  /** Upstreams' replies kept, in number and in size with their keys: an answer is some 100 to 500 bytes. */
  dnsRememberedEntries: 16_384,
  dnsRememberedBytes: 8 * 1024 * 1024,
  /** Finished answers kept, in number and in size with their keys. */
  dnsCacheEntries: 16_384,
  dnsCacheBytes: 8 * 1024 * 1024,
  /** Addresses that asked lately, with what is known of them; twice as many may be kept for a while. */
  dnsClientsMax: 8192,
  /** Different views of the zone by who asks that are told apart by a kept number. */
  dnsAskersMax: 4096,
  /** Bytes a second by which answers over UDP may exceed the queries of one network of clients, and at once. */
  dnsExcessBytesPerSecond: 256 * 1024,
  dnsExcessBytesBurst: 1024 * 1024,
  /** The same for one container of this host: what it gets leaves no machine, and it may be a busy proxy. */
  dnsLocalExcessBytesPerSecond: 16 * 1024 * 1024,
  dnsLocalExcessBytesBurst: 16 * 1024 * 1024,
  /** Networks and containers for which that is kept. */
  dnsBudgetsMax: 16_384,
  /** Queries that wait until it is known which container asks; in all, and of one address. */
  dnsStrangersMax: 1024,
  dnsStrangersPerAddress: 32,
  /** Queries for names whose addresses this host does not serve yet; one host's programs share an address. */
  dnsOpeningMax: 1024,
  dnsOpeningPerAddress: 256,
  /** A query: room for one question, EDNS options and a signature; longer ones only cost time to parse. */
  dnsQueryBytes: 1500,
  /** Records in one answer: as many A (16 bytes each) as a message of 64 kB holds; the encoder tells what fits. */
  dnsRecordsMax: 4000,
  /** Addresses that one wildcard of dns.listen stands for, two sockets each: a host with so many bridges is large. */
  dnsAddressesMax: 256,
  /** DNS connections over TCP, idle or busy; an eighth more may wait for a place. One client gets half of them. */
  dnsConnectionsMax: 1024,
  /** Bytes held for all of them: answers that clients do not read, queries that wait for their turn. */
  dnsConnectionsHeldBytes: 32 * 1024 * 1024,
  /** Queries of one TCP connection being answered at once; further ones wait unread. */
  dnsPipelineMax: 64,
  /** A TCP connection with more than this unsent is not read from until its client reads. */
  dnsConnectionBufferedBytes: 256 * 1024,

  /** Different refusals and failed dials that are logged in a minute; each is logged once in it. */
  repeatsKept: 256,
  /** Events kept for `skein events` and the API. */
  eventsKept: 1024,
  /** Connections at once to each listener of the admin API: people, scrapers and dashboards are few. */
  adminConnectionsMax: 256,
  /** A request body of the admin API; the largest that makes sense names one replica. */
  adminBodyBytes: 16 * 1024,
  /** The body that brings a backup of the authority, as a string of JSON. */
  adminRestoreBytes: 3 * 1024 * 1024,
  /** What a daemon tells the one that takes over from it: a line for each of some ten thousands of replicas. */
  handoverBytes: 16 * 1024 * 1024,
  /** An answer of the admin API as the CLI reads it: ten thousands of replicas explained. */
  adminAnswerBytes: 64 * 1024 * 1024,
  /** Followers of the event stream at once, each of them a connection held open. */
  eventStreamsMax: 64,
  /** Of these at the loopback port, where every local user may knock: the socket's callers always find room. */
  eventStreamsOfPortMax: 48,
  /** A follower with more than this unsent is dropped: above all the events kept, so that a replay fits. */
  eventStreamBufferedBytes: 1024 * 1024,
  /** Followers of `watch` at once: pages that people look at. Each may hold one whole picture that it does not read. */
  watchersMax: 32,
  /** Of these at the loopback port. */
  watchersOfPortMax: 24,
  /** A watcher with more than this unsent gets no further changes, but a new picture when it has read them. */
  watchBufferedBytes: 256 * 1024,
  /** Events in a picture, and in one change: what a page shows before somebody asks for more. */
  watchEventsMax: 256,

  /** One line of Docker's event stream. */
  dockerEventBytes: 1024 * 1024,
  /** One reply of Docker: the list of 10,000 containers is about 30 MB. */
  dockerReplyBytes: 64 * 1024 * 1024,
  /** Containers inspected at once: Docker answers no faster with more. */
  dockerInspectsAtOnce: 8,
  /** One label's value: the longest useful list is far below. */
  labelValueBytes: 4096,
  /** HTTP routes of one service as text, so that a record with every other list full still fits. */
  routesBytes: 8 * 1024,
  /** Problems reported of one container or service, and of one source. */
  problemsPerSubject: 32,
  problemsPerSource: 1024,
  /** Refusals of the kernel told at once, of one part of it. */
  kernelProblemsMax: 64,
  /** One problem's or reason's text; longer input is cut, not repeated in full. */
  problemTextBytes: 300,

  /** Health probes in flight at once, each one socket. */
  probesInFlight: 256,
  /** What is read of the body of a health probe's answer, so that the connection can close cleanly. */
  probeBodyBytes: 64 * 1024,
  /** What a program of the host may print: `nft list table` of thousands of services fits. */
  programOutputBytes: 16 * 1024 * 1024,
  /** The config file: the parser takes seconds for a megabyte. */
  configBytes: 256 * 1024,
  /** A file with a token or a passphrase in its first line. */
  secretBytes: 4096,
  /** A state file. */
  fileBytes: 64 * 1024 * 1024,
} as const;
