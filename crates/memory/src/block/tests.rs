use super::*;

fn human(value: &str) -> Block {
    let new = NewBlock { label: "human".into(), value: value.into(), limit: Some(20), ..NewBlock::default() };
    Block::new("block-1".into(), 0, new).unwrap()
}

fn words(edit: Result<Block, EditError>) -> String {
    edit.map_or_else(|error| error.to_string(), |block| block.value)
}

#[test]
fn an_edit_gives_the_new_value_or_words_that_a_model_knows() {
    let block = human("Name: ?");
    let read_only = Block { read_only: true, ..block.clone() };
    let got = [
        words(human("").appended("likes tea")),
        words(block.appended("likes tea")),
        words(block.appended("likes tea and coffee")),
        words(block.replaced("?", "Kai")),
        words(block.replaced("Name: ", "")),
        words(block.replaced("Age", "7")),
        words(block.replaced("", "7")),
        words(read_only.appended("x")),
        words(read_only.replaced("?", "x")),
    ];
    assert_eq!(
        got.join("|"),
        "likes tea|Name: ?\nlikes tea|Edit failed: Exceeds 20 character limit (requested 28).|Name: Kai|?|\
         Old content 'Age' not found in memory block 'human'|The content to replace in memory block 'human' must not \
         be empty|This block is read-only and cannot be edited.|This block is read-only and cannot be edited."
    );
}

#[test]
fn a_limit_counts_characters_and_not_bytes() {
    assert_eq!(words(human("").appended(&"ä".repeat(20))), "ä".repeat(20));
    assert!(human("").appended(&"ä".repeat(21)).is_err());
}

#[test]
fn a_person_may_edit_what_the_agent_may_only_read_but_not_beyond_the_limit() {
    let read_only = Block { read_only: true, ..human("a") };
    let changed = read_only.changed(&BlockChange { value: Some("b".into()), ..BlockChange::default() });
    assert_eq!(changed.unwrap(), Block { value: "b".into(), ..read_only.clone() });
    let too_small = BlockChange { limit: Some(3), value: Some("four".into()), ..BlockChange::default() };
    assert_eq!(read_only.changed(&too_small), Err(EditError::TooLong { limit: 3, requested: 4 }));
    let none = BlockChange { limit: Some(0), ..BlockChange::default() };
    assert_eq!(read_only.changed(&none), Err(EditError::BadLimit { limit: 0 }));
}

#[test]
fn labels_that_cannot_stand_in_a_key_are_refused() {
    for label in ["", "a\nb", &"x".repeat(129)] {
        let new = NewBlock { label: label.to_owned(), ..NewBlock::default() };
        assert_eq!(Block::new("b".into(), 0, new), Err(EditError::BadLabel), "{label:?}");
    }
}

#[test]
fn the_prompt_is_the_same_bytes_whatever_order_the_rows_came_in() {
    let (first, second) = (human("one"), Block { label: "persona".into(), place: 1, ..human("two") });
    let text = render(&[first.clone(), second.clone()]);
    assert_eq!(text, render(&[second, first]));
    assert!(text.find("<human>").unwrap() < text.find("<persona>").unwrap(), "{text}");
    assert!(text.contains("- chars_current=3\n- chars_limit=20"), "{text}");
}

fn lines(value: &str) -> Block {
    Block { limit: 40, ..human(value) }
}

#[test]
fn one_place_is_replaced_or_the_model_reads_which_are_meant() {
    let block = lines("tea\nrum\ntea");
    let read_only = Block { read_only: true, ..block.clone() };
    let got = [
        words(block.replaced_once("rum", "cocoa")),
        words(block.replaced_once("\nrum", "")),
        words(block.replaced_once("tea", "x")),
        words(block.replaced_once("gin", "x")),
        words(block.replaced_once("", "x")),
        words(block.replaced_once("rum", &"x".repeat(40))),
        words(read_only.replaced_once("gin", "x")),
        words(lines("aaa").replaced_once("aa", "b")),
        words(lines("ääb").replaced_once("ä", "b")),
    ];
    let expected = [
        "tea\ncocoa\ntea",
        "tea\ntea",
        "No replacement was performed. Multiple occurrences of old_string `tea` in lines [1, 3]. Please ensure it is \
         unique.",
        "No replacement was performed, old_string `gin` did not appear verbatim in memory block with label `human`.",
        "The content to replace in memory block 'human' must not be empty",
        "Edit failed: Exceeds 40 character limit (requested 48).",
        "This block is read-only and cannot be edited.",
        "No replacement was performed. Multiple occurrences of old_string `aa` in lines [1]. Please ensure it is unique.",
        "No replacement was performed. Multiple occurrences of old_string `ä` in lines [1]. Please ensure it is unique.",
    ];
    assert_eq!(got, expected);
}

#[test]
fn a_line_is_put_where_it_is_asked_for() {
    let block = lines("a\nb");
    let read_only = Block { read_only: true, ..block.clone() };
    let range = |line: &str| {
        format!(
            "Invalid `insert_line` parameter: {line}. It should be within the range of lines of the memory block: [0, \
             2], or -1 to append to the end of the memory block."
        )
    };
    let cases = [
        (&block, -1, "a\nb\nx".to_owned()),
        (&block, 0, "x\na\nb".to_owned()),
        (&block, 1, "a\nx\nb".to_owned()),
        (&block, 2, "a\nb\nx".to_owned()),
        (&block, 3, range("3")),
        (&block, -2, range("-2")),
        (&block, i64::MAX, range(&i64::MAX.to_string())),
        (&lines(""), -1, "x".to_owned()),
        (&lines(""), 0, "x".to_owned()),
        (&lines("a\n"), -1, "a\n\nx".to_owned()),
        (&read_only, 9, "This block is read-only and cannot be edited.".to_owned()),
    ];
    for (block, line, expected) in cases {
        assert_eq!(words(block.inserted("x", line)), expected, "{:?} after {line}", block.value);
    }
    let long = "x".repeat(40);
    assert_eq!(words(block.inserted(&long, 0)), "Edit failed: Exceeds 40 character limit (requested 44).");
}

#[test]
fn all_of_a_block_is_written_anew_within_its_limit() {
    let block = lines("a\nb");
    assert_eq!(words(block.rewritten("c")), "c");
    assert_eq!(words(block.rewritten("")), "");
    let long = "x".repeat(41);
    assert_eq!(words(block.rewritten(&long)), "Edit failed: Exceeds 40 character limit (requested 41).");
    let read_only = Block { read_only: true, ..block };
    assert_eq!(words(read_only.rewritten("c")), "This block is read-only and cannot be edited.");
}
