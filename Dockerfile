# The service in a container, on the CPU:
#   docker build --build-arg TORCH_INDEX=<PyTorch's index of CPU wheels> -t netwright .
#   docker run -p 8000:8000 -v netwright-runs:/runs -e NETWRIGHT_TOKEN=<a secret> netwright
# Without TORCH_INDEX pip takes the default wheel of torch, which works but brings CUDA: some gigabytes more.
FROM python:3.12-slim-bookworm AS build

ARG TORCH_INDEX=""
ARG EXTRAS="openvino"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/netwright
ENV PATH=/opt/netwright/bin:$PATH
# torch first, and alone: this layer stays when only netwright changes. The bounds are those of pyproject.toml.
RUN pip install "torch>=2.6,<2.14" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY nas nas
COPY search_spaces search_spaces
COPY predictors predictors
COPY hardware hardware
RUN pip install ".[${EXTRAS}]"

FROM python:3.12-slim-bookworm

# libgomp1: what XGBoost and scikit-learn compute with
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 netwright \
    && install -d -o netwright -g netwright /runs

COPY --from=build /opt/netwright /opt/netwright
ENV PATH=/opt/netwright/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NETWRIGHT_CACHE=/runs/.cache \
    RAY_USAGE_STATS_ENABLED=0

USER netwright
WORKDIR /runs
VOLUME /runs
EXPOSE 8000

# Any answer but a server error is health: without a token the service answers 401.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.error, urllib.request as web\ntry:\n    web.urlopen('http://127.0.0.1:8000/api/v1/health', timeout=4)\nexcept urllib.error.HTTPError as error:\n    sys.exit(error.code >= 500)"]

# Beyond loopback the service asks for a token: NETWRIGHT_TOKEN, else one that it makes and prints.
ENTRYPOINT ["netwright"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--root", "/runs", "--jobs", "1"]
