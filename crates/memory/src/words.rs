//! What counts as a word, for search by words.

use std::collections::BTreeMap;

/// Letters and digits, lower case, and without what English puts at the end of many words, so
/// that `runs` finds `run`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(|part| stem(part.to_lowercase()))
}

/// How often each word is in a text, by the number that stands for it.
pub(crate) fn counted(text: &str) -> BTreeMap<u32, u32> {
    let mut counted = BTreeMap::new();
    for word in words(text) {
        *counted.entry(number(&word)).or_default() += 1;
    }
    counted
}

/// The number that stands for a word or a tag (FNV-1a, folded to half its bits). Two of 100,000
/// words share one in a fair share of all vocabularies; then a text ranks a little too high.
pub(crate) fn number(word: &str) -> u32 {
    const BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01B3;
    let hash = word.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let folded = (hash >> 32) ^ (hash & u64::from(u32::MAX));
    u32::try_from(folded).expect("half of the bits")
}

fn stem(word: String) -> String {
    /// Of a shorter word too little would be left.
    const STEM_BYTES_MIN: usize = 3;
    let cut = |end: &str| word.strip_suffix(end).filter(|rest| rest.len() >= STEM_BYTES_MIN);
    match cut("'s").or_else(|| cut("ies")).or_else(|| cut("es")).or_else(|| cut("s")) {
        Some(rest) => rest.to_owned(),
        None => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case_and_ending() {
        assert_eq!(words("The Cats' berries, 3.14!").collect::<Vec<_>>(), ["the", "cat", "berr", "3", "14"]);
        assert_eq!(counted("Tea, teas: TEA").values().collect::<Vec<_>>(), [&3]);
        assert_ne!(number("tea"), number("eat"));
    }
}
