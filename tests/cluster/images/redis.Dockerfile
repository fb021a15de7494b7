# Redis inside a test cluster, from Debian's package. No persistence unless arguments ask for it.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/* \
    && mkdir /data && chown 65532:65532 /data
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["redis-server", "--protected-mode", "no", "--save", ""]
