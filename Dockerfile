# Skein's image: the daemon and its CLI as one bundle, on Node, with the programs it starts.
# Build: docker build -t skein .    Another base with Node 24, npm and apt: --build-arg BASE=...
# Nothing here is tied to a processor: what runs natively comes from the base and from apt.
ARG BASE=node:24-bookworm-slim

# Where it will run: what Node compiles is kept by path.
FROM ${BASE} AS build
WORKDIR /opt/skein
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY build build
COPY config config
COPY src src
# What Node compiled, for all later starts: the root is read-only, and it is the same for all. Each user has a part.
RUN node build/build.ts \
 && node build/warm.ts --dist /opt/skein/dist --cache /opt/skein/compile-cache --uid 0 --uid 1000

FROM ${BASE}
# iproute2: the VIP pool's route, and links between hosts. nftables, conntrack: traffic at kernel speed. iptables: the one
# rule in DOCKER-USER. wireguard-*: encrypted networks (-go: where the kernel has none). iputils-ping: path MTU in doctor.
# tini: an init, since the daemon starts programs.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      iproute2 nftables conntrack iptables wireguard-tools wireguard-go iputils-ping tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
# Uid 1000 owns what is written to, for `--user 1000` (proxy mode). Root without capabilities gets in by its group.
RUN printf '#!/bin/sh\nexec node --max-semi-space-size=2 /opt/skein/dist/skein.mjs "$@"\n' > /usr/local/bin/skein \
 && chmod 0755 /usr/local/bin/skein \
 && install -d -o 1000 -g 0 -m 0770 /var/lib/skein /run/skein
WORKDIR /opt/skein
COPY package.json LICENSE ./
COPY config/skein.yaml config/skein.yaml
COPY --from=build /opt/skein/dist dist
COPY --from=build /opt/skein/compile-cache compile-cache
ENV NODE_COMPILE_CACHE=/opt/skein/compile-cache

ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="skein" \
      org.opencontainers.image.description="Service names, stable addresses and load balancing for plain Docker hosts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

VOLUME /var/lib/skein
# Mesh, admin (loopback), DNS, HTTP ingress, VXLAN, WireGuard. With network_mode: host they are the host's own.
EXPOSE 7650/tcp 7651/tcp 5300/udp 5300/tcp 8080/tcp 4789/udp 51820/udp
# What OpenSSL frees after a burst goes back to the system, and threads share one heap: some 20 MB less in the end.
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
# Where root looks by itself, for other users too: configuration, state, the admin socket.
ENV XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib XDG_RUNTIME_DIR=/run/skein
# The lock of iptables-legacy, where the read-only root has a place for it; iptables-nft needs none.
ENV XTABLES_LOCKFILE=/run/skein/xtables.lock
# Each check starts a Node: 0.1 s of processor and 60 MB for that moment. So seldom, but soon after the start (each 5 s
# in the start period; engines before 25 wait for the first interval).
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s CMD ["skein", "status", "--quiet"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "skein"]
CMD ["run"]
