# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm
# LightGBM's only system library; pinned by Debian's release, not by version
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 esml \
    && install --directory --owner 1000 /estate
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY esml_engine ./esml_engine
COPY cockpit ./cockpit
COPY pages ./pages
COPY .streamlit ./.streamlit
RUN pip install --no-cache-dir --constraint constraints.txt --editable .
USER 1000
ENV ESML_ESTATE=/estate
VOLUME /estate
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/healthz', timeout=4)"]
# an empty volume becomes an estate; publish the port to loopback (-p 127.0.0.1:8501:8501) or put a sign-in before it
CMD ["sh", "-c", "test -e \"$ESML_ESTATE/estate.toml\" || esml init \"$ESML_ESTATE\" && exec esml up --host 0.0.0.0"]
