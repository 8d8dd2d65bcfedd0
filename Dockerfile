# syntax=docker/dockerfile:1
# A node, for Compose, Kubernetes or by hand: docs/deploy.md. Redis is somewhere else (redis.url).
# With --build-arg BUILD=compiled its SIP core is machine code: docs/performance.md.

FROM python:3.12-slim-bookworm AS build
ARG BUILD=pure
WORKDIR /build
RUN python -m venv /opt/voice-gateway
ENV PATH=/opt/voice-gateway/bin:$PATH
# First what changes seldom: this layer is kept until the lock changes.
COPY requirements/run.lock requirements/run.lock
RUN pip install --no-cache-dir --require-hashes -r requirements/run.lock
COPY requirements/compiled.lock requirements/compiled.lock
# Debian keeps no older version of gcc to ask for.
# hadolint ignore=DL3008
RUN python -m venv /opt/compiler && \
    if [ "$BUILD" = compiled ]; then \
        apt-get update -qq && apt-get install -qq -y --no-install-recommends gcc libc6-dev && \
        rm -rf /var/lib/apt/lists/* && \
        /opt/compiler/bin/pip install --no-cache-dir --require-hashes -r requirements/compiled.lock; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY gateway gateway
COPY routing routing
COPY storage storage
COPY scripts/compiled_wheel.py scripts/compiled_wheel.py
RUN if [ "$BUILD" = compiled ]; then \
        HATCH_BUILD_HOOK_ENABLE_CUSTOM=true /opt/compiler/bin/python -m hatchling build -t wheel -d wheels && \
        pip install --no-cache-dir --no-deps wheels/*.whl; \
    else \
        pip install --no-cache-dir --no-deps --no-build-isolation .; \
    fi && \
    pip uninstall --yes pip hatchling editables && \
    # A seventh of the whole: where numbers are on a map, and others' tests.
    find /opt/voice-gateway/lib -type d \( -name tests -o -path '*/phonenumbers/geodata' \) -prune -exec rm -r {} + && \
    python -m compileall -q /opt/voice-gateway/lib

FROM python:3.12-slim-bookworm
RUN groupadd --system --gid 10001 voice-gateway && \
    useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/voice-gateway voice-gateway && \
    install --directory --owner 10001 --group 10001 /var/lib/voice-gateway
COPY --from=build /opt/voice-gateway /opt/voice-gateway
WORKDIR /etc/voice-gateway
COPY configs configs
# The only place that is written to, besides /tmp: the root may be read-only.
ENV PATH=/opt/voice-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    VOICE_GATEWAY_DATA__DIR=/var/lib/voice-gateway
VOLUME /var/lib/voice-gateway
USER 10001:10001
EXPOSE 5060/udp 5060/tcp 5061/tcp 8080/tcp 16384-32766/udp
# Alive, not ready: a node that drains must not be killed for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "gateway.healthcheck"]
# SIGTERM drains: give it longer than drain.timeout (docker stop --time 75).
STOPSIGNAL SIGTERM
ENTRYPOINT ["voice-gateway"]
CMD ["serve"]
