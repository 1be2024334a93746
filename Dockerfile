# The platform in one image: `docker build -t mgx:latest .`, and docs/deployment.md has how it is run.
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /src
COPY . .
# the runner is PID 1 in every agent container, whatever that has of libraries: it is static
RUN set -eu; target=$(rustc -vV | sed -n 's/^host: //p'); \
    RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile small --target "$target" -p mgx-agent-runner; \
    cargo build --locked --release --bin mgx; \
    mkdir /out; \
    cp "target/$target/small/mgx-agent-runner" /out/agent-runner; \
    cp target/release/mgx /out/mgx

FROM debian:trixie-slim
# certificate authorities, for the model's provider and for the agent image that mgx makes
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/mgx /out/agent-runner /usr/local/bin/
EXPOSE 8765
CMD ["mgx", "serve"]
