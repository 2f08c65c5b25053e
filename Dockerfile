# The worker and the gateway. `docker build -t dealthread-worker .`; configuration is mounted, secrets come from the
# environment or from mounted files (see dealthread.example.toml).

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY requirements-runtime.lock pyproject.toml ./
RUN python -m venv /opt/dealthread \
    && /opt/dealthread/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements-runtime.lock

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 dealthread \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin dealthread
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
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 7241 7244 7245
# SIGTERM makes the worker finish what is under way; give it longer than worker.grace_seconds.
STOPSIGNAL SIGTERM
CMD ["python", "worker.py", "--config", "/etc/dealthread/dealthread.toml"]
