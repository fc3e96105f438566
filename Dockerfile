# The agent as a container: what runs it needs, pinned with hashes, and nothing that built it.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.lock build.lock ./
RUN python3 -m venv /opt/pigment-sync \
 && /opt/pigment-sync/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes \
      -r requirements.lock -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
COPY connectors connectors
COPY sandbox sandbox
RUN /opt/pigment-sync/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && /opt/pigment-sync/bin/python -m pip uninstall --yes --disable-pip-version-check hatchling editables pluggy \
      trove-classifiers pathspec pip

FROM ${BASE}
LABEL org.opencontainers.image.title="pigment-sync" \
      org.opencontainers.image.description="Keeps the members of Pigment workspaces in step with Okta, Entra ID or OneLogin" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/pigment-sync
COPY --from=build /opt/pigment-sync /opt/pigment-sync
ENV PATH=/opt/pigment-sync/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIGMENT_SYNC_CONFIG=/etc/pigment-sync/config.yaml \
    PIGMENT_SYNC__STATE__URL=sqlite:////var/lib/pigment-sync/state.db
USER 10001:10001
VOLUME /var/lib/pigment-sync
ENTRYPOINT ["pigment-sync"]
CMD ["--help"]
