# Skein's image: the daemon and its CLI, run as they are in the repository (Node strips the types).
# Build: docker build -t skein .    Another base with Node 24 and apt: --build-arg BASE=...
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS dependencies
WORKDIR /opt/skein
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${BASE}
# iproute2: the VIP pool's route, and links between hosts. nftables, conntrack: traffic at kernel speed. iptables: the one
# rule in DOCKER-USER. wireguard-*: encrypted networks (-go: where the kernel has none). iputils-ping: path MTU in doctor.
# tini: an init, since the daemon starts programs.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      iproute2 nftables conntrack iptables wireguard-tools wireguard-go iputils-ping tini \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/skein
COPY --from=dependencies /opt/skein/node_modules node_modules
COPY package.json LICENSE ./
COPY config/skein.yaml config/skein.yaml
COPY src src
RUN printf '#!/bin/sh\nexec node --max-semi-space-size=2 /opt/skein/src/main.ts "$@"\n' > /usr/local/bin/skein \
 && chmod 0755 /usr/local/bin/skein

LABEL org.opencontainers.image.title="skein" \
      org.opencontainers.image.description="Service names, stable addresses and load balancing for plain Docker hosts" \
      org.opencontainers.image.licenses="Apache-2.0"

VOLUME /var/lib/skein
# Mesh, admin (loopback), DNS, HTTP ingress, VXLAN, WireGuard. With network_mode: host they are the host's own.
EXPOSE 7650/tcp 7651/tcp 5300/udp 5300/tcp 8080/tcp 4789/udp 51820/udp
# Compiled code is kept between runs where the state is: the root is read-only.
ENV NODE_COMPILE_CACHE=/var/lib/skein/compile-cache
# What OpenSSL frees after a burst goes back to the system, and threads share one heap: some 20 MB less in the end.
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
# The lock of iptables-legacy, where the read-only root has a place for it; iptables-nft needs none.
ENV XTABLES_LOCKFILE=/run/skein/xtables.lock
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["skein", "status", "--quiet"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "skein"]
CMD ["run"]
