# The agent as a container: what runs it needs, pinned with hashes, and nothing that built it. docs/image.md tells more.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
# For a mirror of your own, and for a proxy that ends TLS: a bundle of authorities that the base has.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# What builds lives in /build; what runs, in /opt/pigment-sync, never has a pip of its own.
COPY build.lock requirements.lock ./
RUN python3 -m venv /build \
 && /build/bin/python -m pip install --no-deps --require-hashes -r build.lock \
 && python3 -m venv --without-pip /opt/pigment-sync \
 && /build/bin/python -m pip --python /opt/pigment-sync/bin/python install --no-compile \
      --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
COPY connectors connectors
COPY sandbox sandbox
# Compiled here, for nothing can be written later; by hash, because times differ from build to build. aenum, which the okta
# SDK needs, has one file for Python 2 alone.
RUN /build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/python -m pip --python /opt/pigment-sync/bin/python install --no-compile --no-deps --no-index /wheel/*.whl \
 && /build/bin/python -m pip --python /opt/pigment-sync/bin/python check \
 && find /opt/pigment-sync/bin -type f ! -name pigment-sync -delete \
 && find /opt/pigment-sync/lib -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
 && find /opt/pigment-sync/lib -path '*/aenum/_py2.py' -delete \
 && /opt/pigment-sync/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/pigment-sync/lib

FROM ${BASE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="pigment-sync" \
      org.opencontainers.image.description="Keeps the members of Pigment workspaces in sync with Okta, Microsoft Entra ID or OneLogin" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base's own pip goes too. The folder of the state belongs to our user, and to group 0, in which a platform that
# chooses another user runs it.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip /usr/share/python-wheels \
      /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
 && install -d -o 10001 -g 0 -m 0770 /var/lib/pigment-sync
COPY --from=build /opt/pigment-sync /opt/pigment-sync
ENV PATH=/opt/pigment-sync/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/pigment-sync \
    PIGMENT_SYNC_CONFIG=/etc/pigment-sync/config.yaml \
    PIGMENT_SYNC_REVISION=${REVISION}
USER 10001:10001
WORKDIR /tmp
VOLUME /var/lib/pigment-sync
EXPOSE 8080
# Asked directly, whatever proxy the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-IS", "-c", "\
import http.client, os; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PIGMENT_SYNC__SERVER__PORT') or 8080), timeout=4); \
server.request('GET', '/healthz'); \
raise SystemExit(server.getresponse().status != 200)"]
ENTRYPOINT ["pigment-sync"]
CMD ["serve"]
