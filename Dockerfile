# The server in a container (docs/server.md). On CPU; for NVIDIA:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t faceref:cuda .
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv /opt/faceref
ENV PATH=/opt/faceref/bin:$PATH
COPY constraints.txt ./
# The large part first: it is built anew only when the versions change
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple \
    -c constraints.txt torch
COPY pyproject.toml README.md LICENSE LICENSES.md ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt '.[app,heif]'

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin faceref \
    && install -d -o 10001 -m 700 /data
COPY --from=build /opt/faceref /opt/faceref
# All that is written lies in /data (people, jobs, models) and /tmp (uploads as they arrive): the rest may be read-only
ENV PATH=/opt/faceref/bin:$PATH \
    FACEREF_DATA_DIR=/data \
    FACEREF_HOME=/data/models \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=9)"]
# It can be reached from elsewhere, and therefore starts only with a token: FACEREF_TOKEN
CMD ["faceref", "serve", "--host", "0.0.0.0", "--port", "8000"]
