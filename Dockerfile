# The bank in a container: embedded by default, with its data in /data; on servers by OPENBANK_EVENT_STORE and
# OPENBANK_VIEWS (deploy/compose.yaml). It listens beyond its container, so it does not start without TLS and an access
# file. docs/servers.md makes them, in deploy/secrets.
# Build: docker build --tag openbank .
# Run:   docker run --publish 127.0.0.1:50051:50051 --volume openbank:/data --volume "$PWD/deploy/secrets/bank:/etc/openbank:ro" \
#          --env OPENBANK_TLS_CERT=/etc/openbank/bank.pem --env OPENBANK_TLS_KEY=/etc/openbank/bank.key \
#          --env OPENBANK_ACCESS=/etc/openbank/access.toml openbank

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/openbank
WORKDIR /src
# What others made first: it changes less often, and stays cached.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY generated generated
COPY openbank openbank
COPY openbank-client openbank-client
# By environment, not by option, so that the build's own requirements are pinned too.
RUN PIP_CONSTRAINT=/src/constraints.txt /opt/openbank/bin/pip install --no-cache-dir --no-compile ./openbank-client '.[all]'

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home openbank && install --directory --owner=openbank /data /run/openbank
COPY --from=build /opt/openbank /opt/openbank
ENV PATH=/opt/openbank/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENBANK_DATA=/data \
    OPENBANK_LISTEN=0.0.0.0:50051 \
    OPENBANK_LOCAL_SOCKET=unix:/run/openbank/bank.sock \
    OPENBANK_LOG_FORMAT=json
USER openbank
VOLUME /data
EXPOSE 50051
# By the local socket, which needs neither a certificate nor a token.
HEALTHCHECK --interval=15s --timeout=5s --start-period=75s CMD ["openbank", "health"]
ENTRYPOINT ["openbank"]
CMD ["serve"]
