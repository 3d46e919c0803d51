//! Crates are layered: an edge points to a strictly lower layer.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata};

use super::Findings;

/// Lower layers first.
const LAYERS: &[&[&str]] = &[
    &["kelpie-core", "kelpie-env", "kelpie-api"],
    &["kelpie-machine"],
    &["kelpie-storage", "kelpie-models", "kelpie-vm", "kelpie-guest"],
    &["kelpie-registry", "kelpie-memory", "kelpie-sandbox"],
    &["kelpie-runtime", "kelpie-macros"],
    &["kelpie-cluster"],
    &["kelpie-agent"],
    &["kelpie-server"],
    &["kelpie", "kelpie-dst"],
    &["bank", "counter", "order-saga", "kelpie-peers"],
];

/// The test library: any crate may use it in its tests, none in its product.
const TEST_ONLY: &str = "kelpie-dst";

/// The checks: they must build when the product does not, so nothing joins the two.
const CHECKS: &str = "xtask";

/// One crate of the workspace that uses another.
pub(super) struct Edge {
    from: String,
    to: String,
    development: bool,
}

/// The edges between crates of the workspace; a crate without any stands with itself.
pub(super) fn edges(metadata: &Metadata) -> (Vec<String>, Vec<Edge>) {
    let members = metadata.workspace_packages();
    let names: Vec<String> = members.iter().map(|package| package.name.to_string()).collect();
    let mut edges = Vec::new();
    for package in members {
        for dependency in &package.dependencies {
            if names.contains(&dependency.name) {
                edges.push(Edge {
                    from: package.name.to_string(),
                    to: dependency.name.clone(),
                    development: dependency.kind == DependencyKind::Development,
                });
            }
        }
    }
    (names, edges)
}

/// Reports crates without a layer and edges that do not point down.
pub(super) fn check((names, edges): &(Vec<String>, Vec<Edge>)) -> Findings {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, crates)| crates.iter().map(move |name| (*name, layer)))
        .collect();
    let mut findings = Findings::default();
    for name in names {
        if name != CHECKS && !layer_of.contains_key(name.as_str()) {
            findings.violation(name, "is in no layer: add it to xtask/src/tidy/layers.rs");
        }
    }
    for edge in edges {
        if let Some(problem) = problem(edge, &layer_of) {
            findings.violation(&format!("{} -> {}", edge.from, edge.to), problem);
        }
    }
    findings
}

fn problem(edge: &Edge, layer_of: &BTreeMap<&str, usize>) -> Option<&'static str> {
    if edge.to == CHECKS || edge.from == CHECKS {
        return Some("the checks and the product stay apart");
    }
    if edge.to == TEST_ONLY {
        return (!edge.development).then_some("a test library is a dev-dependency only");
    }
    // A crate that names itself in its dev-dependencies turns its own features on for its tests.
    if edge.from == edge.to && edge.development {
        return None;
    }
    // Attributes write paths of the facade, so only there can they be tested, and shown in examples.
    let shows_attributes = ["kelpie-macros", "kelpie-runtime"].contains(&edge.from.as_str());
    if shows_attributes && edge.to == "kelpie" && edge.development {
        return None;
    }
    let (from, to) = (layer_of.get(edge.from.as_str())?, layer_of.get(edge.to.as_str())?);
    (to >= from).then_some(if to == from { "points sideways" } else { "points up" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], edges: &[(&str, &str, bool)]) -> Vec<String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let edges = edges
            .iter()
            .map(|(from, to, development)| Edge {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                development: *development,
            })
            .collect();
        check(&(names, edges)).violations
    }

    #[test]
    fn edges_that_point_down_pass() {
        assert!(found(&["kelpie-core"], &[("kelpie-runtime", "kelpie-core", false)]).is_empty());
        assert!(found(&[], &[("kelpie-storage", "kelpie-dst", true)]).is_empty());
        assert!(found(&[], &[("kelpie-macros", "kelpie", true)]).is_empty());
        assert!(found(&[], &[("kelpie-storage", "kelpie-storage", true)]).is_empty());
    }

    #[test]
    fn each_wrong_edge_is_reported() {
        let up = found(&[], &[("kelpie-core", "kelpie-runtime", false)]);
        assert_eq!(up, ["kelpie-core -> kelpie-runtime: points up"]);
        let macros = found(&[], &[("kelpie-macros", "kelpie", false)]);
        assert_eq!(macros, ["kelpie-macros -> kelpie: points up"]);
        let up_in_tests = found(&[], &[("kelpie-agent", "kelpie-server", true)]);
        assert_eq!(up_in_tests, ["kelpie-agent -> kelpie-server: points up"]);
        let sideways = found(&[], &[("kelpie-core", "kelpie-env", false)]);
        assert_eq!(sideways, ["kelpie-core -> kelpie-env: points sideways"]);
        let product = found(&[], &[("kelpie", "kelpie-dst", false)]);
        assert_eq!(product, ["kelpie -> kelpie-dst: a test library is a dev-dependency only"]);
        let checks = found(&[], &[("kelpie", "xtask", true)]);
        assert_eq!(checks, ["kelpie -> xtask: the checks and the product stay apart"]);
    }

    #[test]
    fn a_crate_in_no_layer_is_reported() {
        let homeless = found(&["kelpie-attic", "xtask"], &[]);
        assert_eq!(homeless.len(), 1);
        assert!(homeless[0].starts_with("kelpie-attic: is in no layer"), "{homeless:?}");
    }
}
