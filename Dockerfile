# The proxy as an image. To build it (`podman build` and `buildah bud` need `--format docker`, because
# the OCI format has no health check):
#
#   docker build --tag gitpat-proxy .
#
# Where packages come from an index of your own, add `--secret id=pip.conf,src=/etc/pip.conf`.
#
# To run it, put `config.yaml` and the repositories into one folder:
#
#   docker run --init --user "$(stat -c %u:%g data)" --volume ./data:/data \
#       --publish 127.0.0.1:8418:8418 gitpat-proxy
#
# --init     git leaves a `git gc` behind after some pushes; without it nobody collects its exit.
# --user     the owner of the repositories: git refuses those of somebody else ("dubious ownership"),
#            and we don't talk it out of that. Not needed if they belong to the image's own user, 8418.
# --publish  to this machine alone, for the TLS proxy in front; with `tls`, to everybody: 443:8418.
#
# Inside a container `listen` has to be `0.0.0.0:8418`. The proxy accepts that only beside `tls`, or
# beside `trusted_proxies`, which names the TLS proxy in front.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip works on it from outside, so that it is not in the image.
RUN python -m venv --without-pip /opt/gitpat-proxy
WORKDIR /source
COPY requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/gitpat-proxy install --only-binary :all: --require-hashes \
        --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gitpat_proxy gitpat_proxy
# setuptools is among the locked packages for this step alone.
RUN pip --python /opt/gitpat-proxy install --no-deps --no-build-isolation . \
    && pip --python /opt/gitpat-proxy uninstall --yes setuptools

FROM ${PYTHON_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 8418 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin \
        gitpat \
    && install --directory --owner gitpat --group gitpat --mode 0750 /data
COPY --from=build /opt/gitpat-proxy /opt/gitpat-proxy
ENV PATH=/opt/gitpat-proxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GITPAT_PROXY_CONFIG=/data/config.yaml \
    GITPAT_PROXY_HEALTH_URL=http://127.0.0.1:8418/-/health
# By number: only so can Kubernetes see that it is not root.
USER 8418:8418
VOLUME /data
WORKDIR /data
EXPOSE 8418
# With `tls` or another port, set GITPAT_PROXY_HEALTH_URL. The certificate is for the public name and not
# for 127.0.0.1, and nothing secret is sent, so it is not verified.
HEALTHCHECK --start-period=10s --timeout=5s CMD ["python", "-c", "\
import os, ssl; \
from urllib.request import HTTPSHandler, ProxyHandler, build_opener; \
handlers = ProxyHandler({}), HTTPSHandler(context=ssl._create_unverified_context()); \
build_opener(*handlers).open(os.environ['GITPAT_PROXY_HEALTH_URL'], timeout=4)"]
CMD ["gitpat-proxy", "serve"]
