# The operator's image, for BuildKit and for the classic builder. `make image` passes what is set below by ARG.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# How pip gets packages, where the defaults do not do. A file named here is one of PYTHON_IMAGE.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv --without-pip tools && python3 -m venv --without-pip /opt/stormfold
COPY requirements-build.lock requirements.lock ./
RUN python3 -m pip --python tools install --only-binary :all: --require-hashes -r requirements-build.lock \
    && python3 -m pip --python /opt/stormfold install --only-binary :all: --require-hashes --no-compile -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN tools/bin/python -m hatchling build -t wheel -d dist \
    && python3 -m pip --python /opt/stormfold install --no-index --no-deps --no-compile dist/*.whl
COPY scripts/slim.py .
RUN python3 slim.py /opt/stormfold && /opt/stormfold/bin/stormfold crds >/dev/null

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/stormfold /opt/stormfold
# Nothing is written at run time, so the root file system may be read-only. Any user id will do: HOME and USER are for those
# that the system has no name for.
ENV PATH=/opt/stormfold/bin:$PATH HOME=/tmp USER=stormfold PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["stormfold"]
CMD ["run"]
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="stormfold" \
      org.opencontainers.image.description="Kubernetes operator that folds storms of signals into one RemediationRequest each" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
