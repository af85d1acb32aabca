# syntax=docker/dockerfile:1
# The engine's image with Azure's packages: target `job` for jobs, target `scoring` for managed endpoints.
ARG BASE=esml-cockpit-base:0.1.0
# hadolint ignore=DL3006
FROM ${BASE} AS job
USER root
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[azure]'
USER 1000
HEALTHCHECK NONE
CMD ["python", "-m", "esml_engine.job"]

FROM job AS scoring
EXPOSE 5001
CMD ["python", "-m", "esml_engine.serving.managed"]
