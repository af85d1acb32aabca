# syntax=docker/dockerfile:1
# The engine's image as a scoring container of a managed online endpoint: the same layers, another command.
ARG BASE=esml-cockpit:0.1.0
# hadolint ignore=DL3006
FROM ${BASE}
EXPOSE 5001
HEALTHCHECK NONE
CMD ["python", "-m", "esml_engine.serving.managed"]
