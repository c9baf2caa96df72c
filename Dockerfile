# One image for every process of Streamgauge; compose.yaml says which one a container runs.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY storage storage
COPY processors processors
COPY api api
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 streamgauge \
 && install --directory --owner streamgauge --mode 0700 /data /data/run /data/run/metrics
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 STREAMGAUGE_DATA_DIR=/data
USER streamgauge
VOLUME /data
EXPOSE 8000
CMD ["streamgauge", "--help"]
