//! The page: one file, nothing from outside.

use super::Timeline;

/// The page without its data.
const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "\"THE TIMELINE\"";

/// A page that shows a timeline in a browser: lanes, messages, faults, calls, commits and
/// violations; to be zoomed, moved and looked into.
///
/// # Errors
/// None are known: it is plain data.
pub fn page(timeline: &Timeline) -> serde_json::Result<String> {
    // Inside of a script element `</script` and `<!--` would end or change it.
    let data = serde_json::to_string(timeline)?.replace('<', "\\u003c");
    Ok(PAGE.replacen(PLACE, &data, 1))
}
