//! Search by words: in what order the rows come is the caller's choice, what is found is
//! decided here.

/// Hits on one page of results, whatever the caller wants.
pub const HITS_MAX: usize = 50;
/// Hits on a page when the caller does not say.
pub const HITS_DEFAULT: usize = 10;
/// Rows that one search looks at, newest first: what a turn can afford.
pub const ROWS_MAX: usize = 20_000;

/// What is searched for, ready to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Lower case.
    words: Vec<String>,
    whole: String,
}

impl Query {
    /// Prepares a query. An empty one finds everything.
    pub fn new(text: &str) -> Self {
        let whole = text.trim().to_lowercase();
        let words = whole.split_whitespace().map(str::to_owned).collect();
        Self { words, whole }
    }

    /// Whether the text contains the query as it stands, or all of its words, whatever the
    /// case.
    pub fn finds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        text.contains(&self.whole) || self.words.iter().all(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_finds_its_words_in_any_case_and_order() {
        let finds = |query: &str| Query::new(query).finds("Kai likes GREEN tea");
        assert!(finds("green Tea") && finds("tea likes") && finds("") && finds("een te"));
        assert!(!finds("green coffee"));
    }
}
