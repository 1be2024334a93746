# `just` lists the recipes; each is a command that one could type.

# The runner is built for this very machine, statically: the target must be named for proc-macros to survive that.
host := `rustc -vV | sed -n 's/^host: //p'`

# Lists the recipes.
default:
    @just --list

# Serves in the foreground.
up *args: build
    target/release/mgx up {{ args }}

# Stops a server that runs in the background.
down:
    target/release/mgx down

# Builds everything that is needed to serve.
build: runner
    cargo build --release --locked --bin mgx

# Builds the static runner that is PID 1 in every container.
runner:
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile small --target {{ host }} -p mgx-agent-runner
    mkdir -p target/images
    install -m 0755 target/{{ host }}/small/mgx-agent-runner target/images/agent-runner

# Builds the agent image unless it is there.
images: build
    target/release/mgx images

# Every test, against a real engine. `just test sse` runs those whose name has it in it.
test *filter: runner
    cargo test --locked --workspace {{ filter }}

# The scheduler's simulation with many seeds.
sim seeds="10000":
    MGX_SIM_SEEDS={{ seeds }} cargo test --locked --release -p mgx-tests --test sim

# rustfmt and clippy; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Formats everything.
fmt:
    cargo fmt --all

# Makes docs/configuration.md again.
docs:
    cargo run --locked --quiet --bin mgx -- config --markdown > docs/configuration.md

# Start latency, beside the engine's own floor.
bench n="30": build
    target/release/mgx bench start --n {{ n }}

# Licences, sources and duplicates of what we depend on (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# What continuous integration runs.
ci:
    bash .ci/run
