use super::*;
use crate::archival::Passage;
use crate::embedding::tests::model;
use crate::segment::Segment;

fn passage(number: u64, text: &str, tags: &[&str]) -> Passage {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Passage::new(format!("passage-{number}"), text.to_owned(), tags, number).expect("it fits")
}

/// Passages as rows of `per_row`, searched.
fn search(
    query: &PassageQuery,
    rows: &[(u64, Vec<u8>)],
    embeddings: Option<&Embeddings>,
    end: u64,
) -> Ranked {
    let mut scan = PassageScan::new(query, embeddings, end);
    for (first, row) in rows.iter().rev() {
        scan.add(*first, row).expect("a row");
    }
    scan.finish(true)
}

fn rows(passages: &[Passage], per_row: usize, embeddings: Option<&Embeddings>) -> Vec<(u64, Vec<u8>)> {
    let chunks = passages.chunks(per_row).enumerate();
    chunks
        .map(|(at, chunk)| ((at * per_row) as u64, Segment::of(chunk.iter().map(Some), embeddings).encoded()))
        .collect()
}

fn text(text: &str) -> PassageQuery {
    PassageQuery { text: text.to_owned(), limit: 10, ..PassageQuery::default() }
}

fn positions(ranked: &Ranked) -> Vec<u64> {
    ranked.candidates.iter().map(|candidate| candidate.position).collect()
}

#[test]
fn words_rank_whatever_the_rows() {
    let passages = [
        passage(0, "Kai drinks green tea in the morning", &["drink", "kai"]),
        passage(1, "The deploy runs on Friday", &["work"]),
        passage(2, "Tea comes from Assam", &["drink"]),
        passage(3, "Nothing else", &[]),
    ];
    for per_row in 1..=4 {
        let rows = rows(&passages, per_row, None);
        let found = |query: PassageQuery| positions(&search(&query, &rows, None, 4));
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found(text("when does the DEPLOY run?")),
            [1, 0],
            "`the` is a word, too, and counts for less"
        );
        assert_eq!(found(text("tea assam")), [2, 0]);
        assert_eq!(found(text("coffee")), [0_u64; 0]);
        assert_eq!(found(PassageQuery { tags: tags(&["drink", "kai"]), ..text("") }), [2, 0]);
        let all = PassageQuery { tags: tags(&["drink", "kai"]), match_all_tags: true, ..text("tea") };
        assert_eq!(found(all), [0]);
        assert_eq!(found(PassageQuery { from_ms: Some(1), to_ms: Some(1), ..text("") }), [1]);
        assert_eq!(found(text("")), [3, 2, 1, 0]);
    }
}

#[test]
fn what_means_the_same_is_found_without_a_word_in_common() {
    let embeddings = model(&[&["tea", "coffee", "drink"], &["cat", "dog"], &["car"]]);
    let passages = [
        passage(0, "a dog", &[]),
        passage(1, "coffee", &[]),
        passage(2, "my tea", &[]),
        passage(3, "tea of a cat", &[]),
    ];
    let rows = rows(&passages, 3, Some(&embeddings));
    let ranked = search(&text("drink"), &rows, Some(&embeddings), 4);
    assert_eq!(positions(&ranked), [2, 1, 3]);
    assert!(ranked.candidates.iter().all(|hit| hit.words.is_none() && hit.meaning.is_some()));
    // Both ways together come first.
    assert_eq!(positions(&search(&text("coffee dog"), &rows, Some(&embeddings), 4))[..2], [1, 0]);
    assert_eq!(positions(&search(&text("car"), &rows, Some(&embeddings), 4)), [0_u64; 0]);
}

#[test]
fn superseded_passages_are_history() {
    let old = Passage { superseded_ms: Some(9), ..passage(0, "Kai lives in Berlin", &[]) };
    let rows = rows(&[old, passage(1, "Kai lives in Rome", &[])], 2, None);
    assert_eq!(positions(&search(&text("where does Kai live"), &rows, None, 2)), [1]);
    let history = PassageQuery { history: true, ..text("Berlin") };
    assert_eq!(positions(&search(&history, &rows, None, 2)), [0]);
}

fn search_after_the_model_changed() {
    // The old model has the meanings in another order: its vectors say something else now.
    let old = model(&[&["cat", "dog"], &["tea", "coffee"]]);
    let new = model(&[&["tea", "coffee"], &["cat", "dog"]]);
    let passages = [passage(0, "a dog", &[]), passage(1, "the coffee", &[])];
    let mut rows = rows(&passages, 1, Some(&old));
    let ranked = search(&text("tea"), &rows, Some(&new), 2);
    assert_eq!(positions(&ranked), [0_u64; 0], "vectors of two models were compared");
    assert_eq!(ranked.stale, Some(0));
    rows[0].1 = Segment::of([Some(&passages[0])], Some(&new)).encoded();
    assert_eq!(search(&text("tea"), &rows, Some(&new), 2).stale, Some(1));
    assert_eq!(search(&text("a"), &rows, None, 2).stale, None, "without a model no vector is wrong");
}

#[test]
fn vectors_of_another_model_are_not_compared() {
    search_after_the_model_changed();
}

#[cfg(feature = "mutants")]
#[test]
fn a_comparison_with_vectors_of_another_model_is_caught() {
    let _on = kelpie_core::mutant::arm("vectors_of_another_model");
    let caught = std::panic::catch_unwind(search_after_the_model_changed).expect_err("it is seen");
    let words = caught.downcast_ref::<String>().expect("words");
    assert!(words.contains("vectors of two models were compared"), "{words}");
}

#[test]
fn positions_without_a_row_are_noticed() {
    let passages = [passage(0, "tea", &[]), passage(1, "tea", &[]), passage(2, "tea", &[])];
    let all = rows(&passages, 1, None);
    let stale = |rows: &[(u64, Vec<u8>)], end| search(&text("tea"), rows, None, end).stale;
    assert_eq!(stale(&all, 3), None);
    assert_eq!(stale(&all, 4), Some(3));
    assert_eq!(stale(&[all[0].clone(), all[2].clone()], 3), Some(1));
    assert_eq!(stale(&all[1..], 3), Some(0));
    // Two rows have it: one of them is a copy that was made while the other was packed.
    let both = [(0, [&passages[0], &passages[1]]), (1, [&passages[1], &passages[2]])];
    let both = both.map(|(first, passages)| (first, Segment::of(passages.map(Some), None).encoded()));
    assert_eq!(stale(&both, 3), Some(1));
    assert_eq!(positions(&search(&text(""), &both, None, 3)), [2, 1, 0]);
    assert_eq!(stale(&[], 0), None);
    assert_eq!(stale(&[], 2), Some(0));
}

#[test]
fn of_equals_the_newest_are_kept() {
    let passages: Vec<Passage> = (0..300).map(|number| passage(number, "tea", &[])).collect();
    let found = positions(&search(&text("tea"), &rows(&passages, 100, None), None, 300));
    assert_eq!((found.len(), found[0], found[99]), (CANDIDATES_MAX, 299, 200));
}
