//! What `docs/verification.toml` says.

use serde::Deserialize;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) issue: Vec<Issue>,
    pub(super) found_by_spec: Vec<FoundBySpec>,
    pub(super) search: Vec<Search>,
    pub(super) found_by_schedule: Vec<FoundBySchedule>,
}

/// A known fault and what answers to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issue {
    pub(super) id: String,
    /// What it was, in a few words.
    pub(super) was: String,
    /// The numbers of decisions.
    #[serde(default)]
    pub(super) adr: Vec<u32>,
    #[serde(default)]
    pub(super) spec: Vec<Spec>,
    /// Seeded bugs of the code beside those of the named invariants.
    #[serde(default)]
    pub(super) bugs: Vec<String>,
    /// Paths of tests, each perhaps followed by a remark in parentheses.
    #[serde(default)]
    pub(super) tests: Vec<String>,
    /// Why it cannot occur, where no test could show that.
    pub(super) by_design: Option<String>,
    /// What there is to say beside the status.
    pub(super) note: Option<String>,
    /// What has not been built or not been shown.
    pub(super) missing: Option<String>,
}

/// A specification of a fault's absence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// A module, or one of its configs.
    pub(super) module: String,
    /// Which of its invariants; none names the whole of it.
    #[serde(default)]
    pub(super) invariants: Vec<String>,
}

/// What was wrong in the code and was seen when a module was written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FoundBySpec {
    pub(super) spec: String,
    pub(super) how: Option<String>,
    pub(super) what: String,
    pub(super) test: String,
}

/// How a search for a seeded bug by simulation of clusters went.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pub(super) bug: String,
    /// How many searches found it.
    pub(super) found: String,
    /// The median of the seeds that it took.
    pub(super) seeds: Option<u32>,
    /// After how many seeds a search gave up, where the median is beyond that.
    pub(super) beyond: Option<u32>,
    pub(super) violated: String,
}

/// What was wrong in the code and was found by a schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FoundBySchedule {
    pub(super) file: String,
    /// Where it was mended.
    pub(super) commit: String,
    pub(super) what: String,
    pub(super) mended: String,
}
