//! Rules: the compose file, the haproxy configuration and the Dockerfile of docs/deployment.md fit each other and the
//! repository.

use saphyr::{LoadableYamlNode, Yaml};

use crate::repository::tree::{Tree, assert_found, assert_kept};

const PAGE: &str = "docs/deployment.md";

/// What stands between the line `begin` and the end of its block of code.
fn block<'a>(tree: &'a Tree, begin: &str) -> &'a str {
    let (_, rest) = tree.text(PAGE).split_once(begin).unwrap_or_default();
    rest.split_once("```").map_or("", |(block, _)| block)
}

/// The value of a key of a service, its own or that of what it is merged with.
fn value<'a, 'b>(service: &'a Yaml<'b>, key: &str) -> Option<&'a Yaml<'b>> {
    let own = service.as_mapping_get(key);
    own.or_else(|| value(service.as_mapping_get("<<")?, key))
}

/// The names in a list, or the keys of a mapping.
fn names(yaml: Option<&Yaml<'_>>) -> Vec<String> {
    let Some(yaml) = yaml else { return Vec::new() };
    let list = yaml.as_sequence().into_iter().flatten();
    let keys = yaml.as_mapping().into_iter().flatten().map(|(key, _)| key);
    list.chain(keys).filter_map(Yaml::as_str).map(str::to_owned).collect()
}

fn compose_violations(tree: &Tree) -> Vec<String> {
    let parsed = Yaml::load_from_str(block(tree, "```yaml\n")).unwrap_or_default();
    let services = parsed.first().and_then(|file| file.as_mapping_get("services"));
    let Some(services) = services.and_then(Yaml::as_mapping) else {
        return vec![format!("{PAGE}: no compose file with services")];
    };
    let services: Vec<_> =
        services.iter().filter_map(|(name, service)| Some((name.as_str()?, service))).collect();
    let mut found = Vec::new();
    for (name, service) in &services {
        for key in ["image", "restart", "depends_on"] {
            if value(service, key).is_none() && !(*name == "mongo" && key != "image") {
                found.push(format!("{PAGE}: the service {name} has no {key}"));
            }
        }
        for other in names(value(service, "depends_on")) {
            if services.iter().all(|(name, _)| *name != other) {
                found.push(format!("{PAGE}: {name} depends on {other}, which is no service"));
            }
        }
    }
    let balancer = services.iter().find(|(name, _)| *name == "haproxy");
    let started_first = names(balancer.and_then(|(_, service)| value(service, "depends_on")));
    let config = block(tree, "# haproxy.cfg\n");
    for server in config.lines().filter_map(|line| line.trim().strip_prefix("server ")) {
        let (host, port) = server.rsplit(' ').next().and_then(|at| at.rsplit_once(':')).unwrap_or_default();
        let service = services.iter().find(|(name, _)| *name == host);
        let environment = service.and_then(|(_, service)| value(service, "environment"));
        let listen = environment.and_then(|given| value(given, "MGX_SERVER__LISTEN")).and_then(Yaml::as_str);
        if !listen.is_some_and(|listen| listen.ends_with(&format!(":{port}"))) {
            found.push(format!(
                "{PAGE}: haproxy.cfg has the server {host}:{port}, and no service listens there"
            ));
        }
        if !started_first.iter().any(|name| name == host) {
            found.push(format!("{PAGE}: haproxy does not depend on {host}"));
        }
    }
    // a name that is not known yet must not end haproxy
    let resolves_later =
        |line: &str| line.contains("resolvers ") && line.contains("init-addr") && line.contains("none");
    if !config.lines().any(|line| line.trim().starts_with("default-server") && resolves_later(line)) {
        found.push(format!(
            "{PAGE}: haproxy.cfg ends haproxy when a name is not known yet: init-addr none, resolvers"
        ));
    }
    found
}

fn image_violations(tree: &Tree) -> Vec<String> {
    let file = tree.text("Dockerfile");
    let (toolchain, workspace) = (tree.text("rust-toolchain.toml"), tree.text("Cargo.toml"));
    let mut found = Vec::new();
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    if !channel.is_some_and(|channel| file.contains(&format!("FROM rust:{channel}-"))) {
        found.push("Dockerfile: the first stage has another Rust than rust-toolchain.toml".to_owned());
    }
    for (option, known) in [("-p ", "name = \""), ("--profile ", "[profile.")] {
        for named in file.split(option).skip(1).filter_map(|rest| rest.split([' ', ';', '\n']).next()) {
            let is_known = |text: &str| text.contains(&format!("{known}{named}"));
            if !is_known(workspace) && !tree.files_with("/Cargo.toml").any(|(_, text)| is_known(text)) {
                found.push(format!("Dockerfile: {option}{named} is not in the workspace"));
            }
        }
    }
    if !file.contains("/out/mgx /out/agent-runner /usr/local/bin/") {
        found.push("Dockerfile: mgx looks for agent-runner beside itself".to_owned());
    }
    if !tree.text(PAGE).contains("docker build -t mgx:latest .") {
        found.push(format!("{PAGE}: say how the image is built"));
    }
    found
}

#[test]
fn the_compose_file_comes_up() {
    assert_kept(&compose_violations(Tree::repository()));
}

#[test]
fn the_image_is_built_from_what_there_is() {
    assert_kept(&image_violations(Tree::repository()));
}

#[test]
fn a_deployment_that_does_not_come_up_is_found() {
    let page = "```yaml\nservices:\n  mongo: {image: mongo}\n  mgx: {image: mgx, restart: always, depends_on: [mongo],\n    \\
                environment: {MGX_SERVER__LISTEN: \"0.0.0.0:8765\"}}\n  haproxy: {image: haproxy, depends_on: [other]}\n```\n\\
                ```text\n# haproxy.cfg\n  default-server check\n  server one mgx:8765\n  server two mgx:8766\n```\n";
    let tree =
        Tree::of(&[(PAGE, page), ("Dockerfile", "FROM rust:1.0\nRUN cargo build -p none --profile slow\n")]);
    let compose = compose_violations(&tree).join("\n");
    for part in
        ["haproxy has no restart", "depends on other", "mgx:8766", "does not depend on mgx", "init-addr none"]
    {
        assert!(compose.contains(part), "{part}: {compose}");
    }
    let image = image_violations(&tree).join("\n");
    for part in ["another Rust", "-p none", "--profile slow", "beside itself", "how the image"] {
        assert!(image.contains(part), "{part}: {image}");
    }
    assert_found(&compose_violations(&Tree::default()), &["no compose file"]);
}
