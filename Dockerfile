# docker build -t fervit . && docker run -p 127.0.0.1:8000:8000 -v "$PWD/token:/run/secrets/fervit_token:ro" fervit
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim-bookworm
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt --find-links /wheels "fervit[serve]" \
    && rm -r /wheels \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin fervit
ENV PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["fervit", "serve", "--host", "0.0.0.0"]
CMD ["--token-file", "/run/secrets/fervit_token"]
