//! The table of the guide: which function of the registry was asked for what, on which backend.

use super::PROPERTIES;
use super::world::Target;

const GUIDE: &str = include_str!("../../../../../docs/guide/stores.md");

#[test]
fn the_registry_s_table_of_the_guide_is_this_suite() {
    let columns: Vec<_> = Target::ALL.iter().map(|target| target.column()).collect();
    let mut expected = vec![format!("| function | property | {} |", columns.join(" | "))];
    expected.push(format!("|---|---|{}", "---|".repeat(columns.len())));
    for (function, property) in PROPERTIES {
        let cells = vec!["yes"; columns.len()].join(" | ");
        expected.push(format!("| {function} | {} | {cells} |", property.replace('_', " ")));
    }
    let expected = expected.join("\n");
    println!("{expected}");
    let lines = GUIDE.lines().skip_while(|line| *line != "<!-- registry -->").skip(1);
    let found: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    assert_eq!(found.join("\n"), expected, "put this table into docs/guide/stores.md");
}
