//! What specifications and simulation have found.

use super::data::Data;
use super::{DATA, Sources, code, head, row};

const CORPUS: &str = "crates/dst/tests/corpus";

/// What was wrong in the code and was seen when a module was written.
pub(super) fn of_specs(data: &Data, sources: &mut Sources<'_>) -> String {
    let mut text = "## What the specifications found\n\nWriting a module means reading the code that it models, step by step. What was wrong \
        there, each with the test that failed before it was mended:\n\n"
        .to_owned();
    text += &head(&["found with", "what could happen", "test"]);
    for found in &data.found_by_spec {
        if sources.specs.invariants(&found.spec).is_none() {
            sources.mistakes.push(format!("{DATA}: there is no specification `{}`", found.spec));
        }
        if !sources.names.has_test(&found.test) {
            sources.mistakes.push(format!("{DATA}: there is no test `{}`", found.test));
        }
        let with = found.how.as_ref().map_or_else(String::new, |how| format!(" ({how})"));
        text += &row(&[code(&found.spec) + &with, found.what.clone(), code(&found.test)]);
    }
    text
}

/// How many seeds of a cluster it takes to find each seeded bug.
pub(super) fn searches(data: &Data, sources: &mut Sources<'_>) -> String {
    let mut text = "## What simulation of clusters finds\n\nEach seeded bug is searched for 20 times, each time with seeds of its own \
        (`kelpie-sim mutants --tries 20`, built with `--features mutants`); the number is the median of the seeds that a search \
        took. A search gives up after 500 seeds, or 3,000 where `kelpie-sim mutants` knows that it is a rare one; rows that say so are of shorter ones. \
        Others need a fault at one place: the tests of their crates put it there.\n\n"
        .to_owned();
    text += &head(&["seeded bug", "scenario", "found", "seeds", "violated"]);
    let searched: Vec<(&str, &str)> = sources.names.searched().collect();
    for search in &data.search {
        let Some((_, scenario)) = searched.iter().find(|(bug, _)| *bug == search.bug) else {
            sources.mistakes.push(format!("{DATA}: simulation does not search for `{}`", search.bug));
            continue;
        };
        let seeds = match (search.seeds, search.beyond) {
            (Some(seeds), None) => seeds.to_string(),
            (None, Some(beyond)) => format!("over {beyond}"),
            _ => {
                sources.mistakes.push(format!("{DATA}: `{}` has either `seeds` or `beyond`", search.bug));
                continue;
            }
        };
        let cells =
            [code(&search.bug), (*scenario).to_owned(), search.found.clone(), seeds, search.violated.clone()];
        text += &row(&cells);
    }
    for (bug, scenario) in searched {
        if !data.search.iter().any(|search| search.bug == bug) {
            text += &row(&[code(bug), scenario.to_owned(), "not counted".into(), "–".into(), "–".into()]);
        }
    }
    text
}

/// What was wrong in the code and was found by a schedule.
pub(super) fn of_schedules(data: &Data, sources: &mut Sources<'_>) -> String {
    let mut text = format!(
        "## What simulation of clusters found\n\nEach has its schedule in `{CORPUS}`, which the test \
         `clusters::sim_the_corpus_is_clean` replays.\n\n"
    );
    text += &head(&["schedule", "what could happen", "since mended by", "commit"]);
    for found in &data.found_by_schedule {
        if !sources.tree.files.contains_key(&format!("{CORPUS}/{}", found.file)) {
            sources.mistakes.push(format!("{DATA}: `{CORPUS}/{}` does not exist", found.file));
        }
        text += &row(&[code(&found.file), found.what.clone(), found.mended.clone(), code(&found.commit)]);
    }
    for file in sources.tree.files.keys().filter_map(|file| file.strip_prefix(CORPUS)?.strip_prefix('/')) {
        if !data.found_by_schedule.iter().any(|found| found.file == file) {
            sources.mistakes.push(format!("{DATA}: nothing says what `{CORPUS}/{file}` has found"));
        }
    }
    text
}
