//! The specifications: their modules, and each invariant with what it answers to.

use super::{Sources, code, head, list, row};

/// Module, what it is about, the configs that hold with their states, invariants, seeded bugs.
pub(super) fn status(sources: &Sources<'_>) -> String {
    let mut text = "## TLA+ status\n\n`cargo xtask specs` runs every config: those in the third column have to hold with exactly \
        this many distinct states (*deep* ones with `--deep`), each seeded bug has to violate the invariant that it names.\n\n"
        .to_owned();
    text += &head(&[
        "module",
        "what it is about",
        "holds, distinct states",
        "invariants, properties",
        "seeded bugs",
        "the code's traces",
    ]);
    for module in sources.specs.modules() {
        let holds = list(module.good().map(|config| {
            let depth = if config.only_deep { ", deep" } else { "" };
            format!("{} ({}{depth})", code(&config.name), thousands(config.states()))
        }));
        let invariants = module.invariants();
        text += &row(&[
            code(&module.name),
            about(sources.tree.text(&format!("specs/{}.tla", module.name)).unwrap_or_default()),
            holds,
            invariants.len().to_string(),
            module.bad().count().to_string(),
            if is_followed(sources, &module.name) { "followed" } else { "–" }.to_owned(),
        ]);
    }
    text
}

/// Module, invariant or property, what it is in the code, which seeded bugs violate it.
pub(super) fn invariants(sources: &Sources<'_>) -> String {
    let mut text = "## Invariants and the bugs that they catch\n\nEach of them also as a property of a model (`crates/models`), as what the \
        simulator checks (`crates/dst`), or in a test; each seeded bug also as one of the code that a test arms, or with the test of it.\n\n"
        .to_owned();
    text += &head(&["module", "invariant or property", "in the code", "violated by (in the code)"]);
    for module in sources.specs.modules() {
        for invariant in module.invariants() {
            let bugs = module.bad().filter(|bug| bug.violates() == Some(invariant.as_str()));
            let bugs = list(bugs.map(|bug| {
                let name = bug.name.trim_start_matches(&module.name).trim_start_matches('_');
                format!("{name} ({})", module.answer(&bug.name))
            }));
            text +=
                &row(&[code(&module.name), invariant.clone(), module.answer(&invariant).to_owned(), bugs]);
        }
    }
    text
}

/// Whether traces that the code has left are held against the module.
fn is_followed(sources: &Sources<'_>, module: &str) -> bool {
    sources.tree.files.contains_key(&format!("specs/traces/{module}_Trace.tla"))
}

/// The first sentence of a module's header.
fn about(text: &str) -> String {
    let words = text.lines().skip(1).filter_map(|line| line.strip_prefix("(* ")?.strip_suffix("*)"));
    let said: Vec<&str> = words.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    said.split_inclusive(['.', ':', ';'])
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', ':', ';'])
        .to_owned()
}

/// A number in groups of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
