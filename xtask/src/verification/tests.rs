//! The page says what there is, and a name that nothing answers to is told.

use super::*;

const FINDINGS: &str = "found_by_spec = []\nsearch = []\nfound_by_schedule = []\n";

/// All rows, open but for H1.
fn data(first: &str) -> String {
    let ids = (1..=8).map(|n| format!("H{n}")).chain((1..=14).map(|n| format!("M{n}")));
    let ids = ids.chain((1..=7).map(|n| format!("L{n}"))).skip(1);
    let open = ids.map(|id| format!("[[issue]]\nid = \"{id}\"\nwas = \"x\"\nmissing = \"no part\"\n"));
    format!("{FINDINGS}[[issue]]\nid = \"H1\"\nwas = \"two writers\"\n{first}\n{}", open.collect::<String>())
}

fn tree(first: &str, page: &str) -> Tree {
    Tree::of(&[
        ("docs/verification.toml", &data(first)),
        ("docs/verification.md", page),
        (
            "docs/adr/031-fence.md",
            "# 031 A fence\n\nStatus: accepted\n\n| claim | where it is proven |\n|---|---|\n| one | `ends_once` |\n| two | open: not built |\n",
        ),
        ("specs/KelpieLease.tla", "---- MODULE KelpieLease ----\n(* A lease: it ends. *)\n(*  *)\n"),
        ("specs/KelpieLease.cfg", "\\* states: 12345\n\\* tested: One lease::ends_once\nINVARIANT One\n"),
        ("specs/KelpieLease_Late.cfg", "\\* violates: One\n\\* mutant: ends_late\nINVARIANT One\n"),
        ("crates/x/src/lease.rs", "fn f() { mutant!(\"ends_late\") }\n"),
        ("crates/x/tests/it/lease.rs", "#[test]\nfn ends_once() { arm(\"ends_late\") }\n"),
    ])
}

const SHOWN: &str = "adr = [31]\ntests = [\"lease::ends_once (on time)\"]\n\
    spec = [{ module = \"KelpieLease\", invariants = [\"One\"] }]";

#[test]
fn the_page_is_made_of_what_there_is() {
    let (page, mistakes) = render(&tree(SHOWN, ""));
    assert_eq!(mistakes, Vec::<String>::new());
    for line in [
        "| H1 | two writers | [031](adr/031-fence.md) | `KelpieLease`: One | `ends_late` | shown |",
        "| H1 | [031](adr/031-fence.md) | `KelpieLease` | `lease::ends_once` (on time) |",
        "| H2 | x | – | – | – | open: no part |",
        "| [031](adr/031-fence.md) | A fence | accepted | 2 | 1 | two |",
        "| `KelpieLease` | A lease | `KelpieLease` (12,345) | 1 | 1 | – |",
        "| `KelpieLease` | One | test lease::ends_once | Late (mutant ends_late) |",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
}

#[test]
fn a_page_that_differs_is_out_of_date() {
    let (page, _) = render(&tree(SHOWN, ""));
    assert_eq!(mistakes(&tree(SHOWN, &page)), Vec::<String>::new());
    assert_eq!(
        mistakes(&tree(SHOWN, &page.replace("shown", "proven"))),
        ["docs/verification.md is out of date: cargo xtask verification"]
    );
}

#[test]
fn a_status_is_what_is_named_and_what_is_missing() {
    let status = |first: &str| {
        let (page, mistakes) = render(&tree(first, ""));
        let row = page.lines().find(|line| line.starts_with("| H1 | two writers"));
        let cell = row.and_then(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
        (cell.unwrap_or_default().to_owned(), mistakes)
    };
    let test = "tests = [\"ends_once\"]\n";
    assert_eq!(status(&format!("{test}note = \"twice\"")).0, "shown: twice");
    assert_eq!(status(&format!("{test}missing = \"half\"")).0, "partly: half");
    assert_eq!(status("missing = \"all\"").0, "open: all");
    assert_eq!(status("by_design = \"no clock\"").0, "shown by design: no clock");
    let nothing = ["docs/verification.toml: H1: names no test, and does not say what is missing"];
    assert_eq!(status("").1, nothing);
}

#[test]
fn what_does_not_exist_is_told() {
    for (first, problem) in [
        ("adr = [30]\nmissing = \"x\"", "H1: there is no decision 030"),
        ("tests = [\"runs::ends_once\"]", "H1: there is no test `runs::ends_once`"),
        ("missing = \"x\"\nbugs = [\"ends_early\"]", "H1: no test arms a seeded bug `ends_early`"),
        (
            "missing = \"x\"\nspec = [{ module = \"KelpieGone\" }]",
            "H1: there is no specification `KelpieGone`",
        ),
        (
            "missing = \"x\"\nspec = [{ module = \"KelpieLease\", invariants = [\"Two\"] }]",
            "H1: `KelpieLease` does not check `Two`",
        ),
    ] {
        assert_eq!(render(&tree(first, "")).1, [format!("docs/verification.toml: {problem}")]);
    }
    let (_, mistakes) = render(&Tree::of(&[("docs/verification.toml", FINDINGS)]));
    assert!(mistakes[0].contains("missing field `issue`"), "{mistakes:?}");
    let unproven = Tree::of(&[(
        "docs/adr/031-x.md",
        "| claim | where it is proven |\n|---|---|\n| one | believe it |\n",
    )]);
    assert_eq!(
        adr::unproven(&unproven),
        ["docs/adr/031-x.md: `one` names nothing that shows it, and is not open"]
    );
}
