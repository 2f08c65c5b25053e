# Two images: `docker build .` gives the worker and the gateway, `docker build --target demo .` the
# same with the vendors' simulators. Configuration is mounted at /etc/dealthread; secrets come from
# the environment or from files (see dealthread.example.toml and docs/deploy.md).

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY requirements-runtime.lock pyproject.toml ./
RUN python -m venv /opt/dealthread \
    && /opt/dealthread/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements-runtime.lock

# What the simulators and the demo's configuration need beside it, as requirements.lock pins it.
FROM build AS build-demo
COPY requirements.lock ./
RUN awk '/^[a-z]/ {wanted = /^(lark|psutil)==/} wanted' requirements.lock > demo.lock \
    && /opt/dealthread/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r demo.lock

FROM python:3.11.14-slim-bookworm AS worker
RUN groupadd --gid 10001 dealthread \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin dealthread \
    && install -d -o dealthread -g dealthread /etc/dealthread
COPY --from=build /opt/dealthread /opt/dealthread
WORKDIR /app
COPY worker.py starter.py ./
COPY canonical canonical
COPY policies policies
COPY workflows workflows
COPY activities activities
COPY adapters adapters
COPY store store
COPY operations operations
COPY gateway gateway
ENV PATH=/opt/dealthread/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEALTHREAD_CONFIG=/etc/dealthread/dealthread.toml
USER 10001:10001
EXPOSE 7241 7244 7245
# The worker's; docker-compose.yml has those of door, drain and simulators.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7241/healthz', timeout=4)"]
# SIGTERM makes the worker finish what is under way; give it longer than worker.grace_seconds.
STOPSIGNAL SIGTERM
CMD ["python", "worker.py", "--config", "/etc/dealthread/dealthread.toml"]

FROM worker AS demo
COPY --from=build-demo /opt/dealthread /opt/dealthread
COPY embedded embedded
COPY simulators simulators

# The last one is what a build without a target gives.
FROM worker
