# One image for every process of Seamless; the command says which one it is.

FROM python:3.11-slim AS build
WORKDIR /build
# The development lock holds the build backend with its hash, which an isolated build would fetch unpinned.
COPY locks/dev.txt locks/
RUN pip install --no-cache-dir --require-hashes -r locks/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY coordinator coordinator
COPY operations operations
COPY schemas schemas
COPY streams streams
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1
COPY locks/runtime.txt /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/runtime.txt && rm /tmp/runtime.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl && rm -r /tmp/wheels
# A new volume takes the owner of the folder that it is mounted over.
RUN useradd --system --uid 10001 --create-home seamless && install -d -o seamless /var/lib/seamless/archive
USER seamless
WORKDIR /home/seamless
ENTRYPOINT ["seamless"]
