# `just` lists the recipes; each is a command that one could type.

# The target of the static runner has to be named, even if it is this machine's own: otherwise proc-macros do not build.
host := `rustc -vV | sed -n 's/^host: //p'`

[private]
default:
    @{{ just_executable() }} --list --unsorted

# Serves in the foreground.
up *args: build
    target/bin/mgx up {{ args }}

# Stops a server that runs in the background.
down:
    target/bin/mgx down

# Builds everything that is needed to serve, as target/bin/mgx; `just build quick` in a third of the time, for slower programs.
build profile="release": (_runner if profile == "quick" { "quick" } else { "small" })
    MGX_BUILD={{ if profile == "quick" { "quick" } else { "" } }} cargo build --profile {{ profile }} --locked --bin mgx
    mkdir -p target/bin
    ln -sf ../{{ profile }}/mgx target/bin/mgx

# Builds the agent image unless it is there.
images: build
    target/bin/mgx images

# Every test, against a real engine and a MongoDB server; `just test sse` runs the tests whose names contain it.
test *filter: _runner
    ./bootstrap.sh mongo
    cargo test --locked --workspace --no-fail-fast {{ filter }}

# rustfmt, clippy and rustdoc; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps

# Formats everything.
fmt:
    cargo fmt --all

# Writes docs/configuration.md from mgx.toml.
docs:
    cargo run --locked --quiet --bin mgx -- config --markdown > docs/configuration.md

# Simulates the scheduler with many seeds.
sim seeds="100000":
    MGX_SIM_SEEDS={{ seeds }} cargo test --locked --release -p mgx-tests --test sim

# Kills and disturbs real servers under load, and checks what they promised; without a name: lists the runs.
chaos name="" *args:
    @tests/scripts.sh tests/chaos/runs "{{ name }}" {{ args }}

# Longer examinations that need more than `just test`; without a name: lists them.
judge name="" *args:
    @tests/scripts.sh tests/judges "{{ name }}" {{ args }}

# Measures starts on every installed runtime, the queue, memory, event streams and the LLM proxy (docs/benchmarks.md).
bench n="30": build
    target/bin/mgx bench duel --n {{ n }} --html target/duel.html
    target/bin/mgx bench start --n {{ n }}
    target/bin/mgx bench dispatch
    target/bin/mgx bench fairness
    target/bin/mgx bench memory
    target/bin/mgx bench sse --stalled 500
    target/bin/mgx bench ingest
    target/bin/mgx bench llm

# What people have reported of model providers, played against the agents: dialects, faults, outages, thirty prompts in a session.
providers *filter: _runner
    cargo test --locked -p mgx-tests --test providers {{ filter }}

# Serves a MongoDB-compatible database in target/mongo, for `store.url = "mongodb://127.0.0.1:27017/?directConnection=true"`.
mongo port="27017":
    ./bootstrap.sh mongo
    mkdir -p target/mongo
    target/tools/mongo/bin/mongo-server --port {{ port }} --storage-path target/mongo --sync-on-commit --cache-size 512M

# What continuous integration runs.
ci:
    bash .ci/run

# Builds the static runner that is PID 1 in every container.
_runner profile="small":
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile {{ profile }} --target {{ host }} -p mgx-agent-runner
    mkdir -p target/images
    install -m 0755 target/{{ host }}/{{ profile }}/mgx-agent-runner target/images/agent-runner
