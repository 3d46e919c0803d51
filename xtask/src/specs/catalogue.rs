//! The specifications as a reader of `docs/verification.md` meets them.

use std::collections::BTreeMap;

use super::config::{self, Config, Expected};
use super::map;
use crate::repo::Tree;

/// All modules.
pub(crate) struct Catalogue {
    modules: Vec<Module>,
}

/// A module, its configs, and what they answer to in the code.
pub(crate) struct Module {
    pub(crate) name: String,
    configs: Vec<Config>,
    answers: BTreeMap<String, String>,
}

impl Catalogue {
    /// Reads the specifications; what is wrong with them, `cargo xtask specs` says.
    pub(crate) fn of(tree: &Tree) -> Self {
        let configs = config::all(tree);
        let (map, _) = map::draw(tree, &configs);
        let mut modules: BTreeMap<String, Module> = BTreeMap::new();
        for config in configs {
            let name = config.module.clone();
            let new = || Module { name: name.clone(), configs: Vec::new(), answers: BTreeMap::new() };
            modules.entry(name.clone()).or_insert_with(new).configs.push(config);
        }
        for line in map {
            if let Some(module) = modules.get_mut(&line.module) {
                module.answers.insert(line.name, line.answer);
            }
        }
        Self { modules: modules.into_values().collect() }
    }

    /// The modules by name.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// What a module, or one of its configs, checks; none if there is no such one.
    pub(crate) fn invariants(&self, name: &str) -> Option<Vec<String>> {
        if let Some(module) = self.modules.iter().find(|module| module.name == name) {
            return Some(module.invariants());
        }
        let of = |module: &Module| {
            let config = module.configs.iter().find(|config| config.name == name)?;
            Some(config.checked().cloned().collect())
        };
        self.modules.iter().find_map(of)
    }

    /// The seeded bugs of the code that the configs of a module answer to, for some invariants.
    pub(crate) fn mutants(&self, module: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let modules = self.modules.iter().filter(|found| found.name == module);
        let bugs = modules.flat_map(|module| module.bad().map(move |bug| (module, bug)));
        let wanted = bugs.filter(|(_, bug)| bug.violates().is_some_and(&wanted));
        wanted
            .filter_map(|(module, bug)| module.answer(&bug.name).strip_prefix("mutant "))
            .map(str::to_owned)
            .collect()
    }
}

impl Module {
    /// The configs that hold.
    pub(crate) fn good(&self) -> impl Iterator<Item = &Config> {
        self.configs.iter().filter(|config| config.violates().is_none())
    }

    /// The configs with a seeded bug.
    pub(crate) fn bad(&self) -> impl Iterator<Item = &Config> {
        self.configs.iter().filter(|config| config.violates().is_some())
    }

    /// What its configs check, each once, without what only says which values a variable can hold.
    pub(crate) fn invariants(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.good().flat_map(Config::checked) {
            if name != "TypeOK" && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// What answers in the code to an invariant or to a config with a seeded bug.
    pub(crate) fn answer(&self, name: &str) -> &str {
        self.answers.get(name).map_or("–", String::as_str)
    }
}

impl Config {
    /// The invariant or property that it has to violate, if it seeds a bug.
    pub(crate) fn violates(&self) -> Option<&str> {
        match &self.expected {
            Expected::Violates { name } => Some(name),
            Expected::Holds { .. } => None,
        }
    }

    /// The distinct states that it has to have, if it holds.
    pub(crate) fn states(&self) -> u64 {
        match self.expected {
            Expected::Violates { .. } => 0,
            Expected::Holds { states } => states,
        }
    }

    fn checked(&self) -> impl Iterator<Item = &String> {
        self.invariants.iter().chain(&self.properties)
    }
}
