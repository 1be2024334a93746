# `just` lists the recipes; each is a command that one could type.

# The runner is built for this very machine, statically: the target must be named for proc-macros to survive that.
host := `rustc -vV | sed -n 's/^host: //p'`

# Debian keeps it where only root looks.
haproxy_program := `PATH="$PATH:/usr/sbin" command -v haproxy || echo haproxy`

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

# Starts a MongoDB-compatible server for development, with its data in target/mongo (a real `mongod` works the same, by its
# address): `store.url = "mongodb://127.0.0.1:27017/?directConnection=true"`.
mongo port="27017": mongo-server
    mkdir -p target/mongo
    target/tools/mongo/bin/mongo-server --port {{ port }} --storage-path target/mongo --sync-on-commit --cache-size 512M

# Installs that server, in target/tools, unless it is there.
mongo-server:
    ./bootstrap.sh mongo

# Builds the agent image unless it is there.
images: build
    target/release/mgx images

# Every test, against a real engine and a MongoDB server. `just test sse` runs those whose name has it in it.
test *filter: runner mongo-server
    cargo test --locked --workspace --no-fail-fast {{ filter }}

# The scheduler's simulation with many seeds.
sim seeds="100000":
    MGX_SIM_SEEDS={{ seeds }} cargo test --locked --release -p mgx-tests --test sim

# Kills the real server under load, fills and stalls its disk, sets its clock, floods it, and checks that it kept its
# promises; `just chaos docker 60 500` does the same to containers, and to an engine of its own.
chaos runtime="process" cycles="300" jobs="5000" seed="1" *more="": build
    cargo build --locked --release -p mgx-tests --bin chaos
    target/release/chaos run --runtime {{ runtime }} --cycles {{ cycles }} --jobs {{ jobs }} --seed {{ seed }} {{ more }}

# Kills, stops and holds up a container engine of its own under load, with and without live-restore.
chaos-engine cycles="30" jobs="300" seed="1":
    just chaos docker {{ cycles }} {{ jobs }} {{ seed }} --nemesis kill,engine --live-restore
    just chaos docker {{ cycles }} {{ jobs }} {{ seed }} --nemesis kill,engine

# Kills the scheduling one of three processes again and again under load, behind haproxy as in docs/deployment.md, on a
# MongoDB server: another one takes over within 5 s every time, what runs goes on, and every promise is kept.
takeover cycles="30" jobs="600" runtime="process": mongo-server haproxy
    MGX_TEST_HAPROXY="{{ haproxy_program }}" \
        just chaos {{ runtime }} {{ cycles }} {{ jobs }} 1 --store mongodb --processes 3 --nemesis kill --max-start 5000

# What several processes promise, through haproxy as in docs/deployment.md.
cluster: build mongo-server haproxy
    MGX_TEST_HAPROXY="{{ haproxy_program }}" MGX_BIN="$PWD/target/release/mgx" \
        cargo test --locked -p mgx-tests --test it -- cluster:: roles:: --nocapture

# Installs haproxy, unless it is there.
haproxy:
    ./bootstrap.sh haproxy

# Cuts the connections of event-stream readers, so many in all, while the server is killed too: ours, one of the
# browsers' kind (Node) and one in Python see every event once.
cuts n="200": build clients
    MGX_BIN="$PWD/target/release/mgx" MGX_CUTS={{ n }} cargo test --locked -p mgx-tests --test it cuts:: -- --nocapture

# The two readers that are not ours, for `just cuts`: packages of npm and PyPI, into target/tools/clients.
clients:
    npm install --silent --no-audit --no-fund --prefix target/tools/clients eventsource@4.1.1
    python3 -m pip install --quiet --disable-pip-version-check --target target/tools/clients/python --upgrade httpx==0.28.1

# The state of jobs, and the walls around them, on Podman and with a warm pool before both engines.
test-engines: runner
    MGX_TEST_ENGINE=podman cargo test --locked -p mgx-tests --test it -- truth:: containment:: pool::
    MGX_TEST_ENGINE=pool:docker cargo test --locked -p mgx-tests --test it -- truth:: containment::
    MGX_TEST_ENGINE=pool:podman cargo test --locked -p mgx-tests --test it -- truth:: containment::

# What a job's state says, 20 times over; 30 containers taken up within 2 s of a restart; a deadline of 60 s kept;
# `just truth podman` for Podman, `just truth pool:docker` and `just truth pool:podman` with a warm pool.
truth engine="docker": build
    MGX_TEST_ENGINE={{ engine }} MGX_BIN="$PWD/target/release/mgx" MGX_TRUTH_REPEATS=20 MGX_TRUTH_CONTAINERS=30 MGX_TRUTH_WITHIN_MS=2000 MGX_TRUTH_TIMEOUT_S=60 \
        cargo test --locked -p mgx-tests --test it truth:: -- --test-threads 1

# So many leases of a warm pool on each engine, one after the other: every one looks for what the others have left in
# files, environment, processes and shared memory, and leaves the same.
leases count="1000": runner
    MGX_POOL_LEASES={{ count }} cargo test --locked -p mgx-runtimes --test docker a_lease_leaves_nothing -- --nocapture

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

# Start latency on every runtime that is installed and beside the engine's own floor, the queue's speed and its fairness,
# what a server holds in memory, and how fast events come in and go out. `target/duel.html` shows the first.
bench n="30": build
    target/release/mgx bench duel --n {{ n }} --html target/duel.html
    target/release/mgx bench start --n {{ n }}
    target/release/mgx bench dispatch
    target/release/mgx bench fairness
    target/release/mgx bench memory
    target/release/mgx bench sse --stalled 500
    target/release/mgx bench ingest

# Fuzzes one of link_codec, config and workspace_path (needs cargo-fuzz and a nightly toolchain).
fuzz target seconds="60":
    cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# Certified client libraries run every flow against a live OAuth 2 provider and the platform around it, and find the
# mistakes of others (needs node).
oauth-judge:
    cargo build --locked -p mgx-oauth2 --features testing --example serve
    cargo build --locked --bin mgx
    cd tests/oauth2 && npm ci && npm test

# How long an access token takes to verify, a wrong password for users who exist and who do not, and what each kind of
# token adds to a request.
oauth-timing: build
    cargo test --locked --release -p mgx-oauth2 --test oauth2 --test timing -- --include-ignored --nocapture --test-threads 1 takes
    MGX_BIN="$PWD/target/release/mgx" cargo test --locked -p mgx-tests --test it gate:: -- --include-ignored --nocapture

# Requests made of the API's own description, right ones and wrong ones and chains of them, against a live server: every
# check of schemathesis, so many examples for each operation (needs python3).
schemathesis examples="50" seconds="600": build
    tests/schemathesis/run.sh {{ examples }} {{ seconds }}

# A thousand connections that are slow on purpose, for so long: who is not waits at most twice as long as without them,
# which is watched for as long, half before and half after. For a quiet machine.
slow seconds="60": build
    MGX_BIN="$PWD/target/release/mgx" MGX_SLOW_SECONDS={{ seconds }} \
        cargo test --locked -p mgx-tests --test it slow:: -- --include-ignored --nocapture

# Licences, sources and duplicates of what we depend on (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# What continuous integration runs.
ci:
    bash .ci/run
