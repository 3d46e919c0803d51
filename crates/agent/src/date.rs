//! Dates as people and models read them.

/// Milliseconds of Unix time as `2026-11-23T09:30:00Z`.
pub(crate) fn iso8601(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day counted from 1970, by the 400-year cycle of the calendar, with years that
/// start in March so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The time that `2026-11-23T09:30:00Z` names, or the start of the day that `2026-11-23` names, in
/// milliseconds of Unix time; nothing if the text is neither.
pub(crate) fn parsed(text: &str) -> Option<u64> {
    let (date, clock) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let clock = clock.strip_suffix('Z').unwrap_or(clock);
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let numbers = |text: &str, separator| -> Option<[u64; 3]> {
        let parts: Option<Vec<u64>> = text.split(separator).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(clock, ':')?);
    let is_clock = hour < 24 && minute < 60 && second < 60;
    // Days of the years before, a few too many or too few, and then the one that it is.
    let about = year.checked_sub(1970).filter(|years| *years < 10_000)? * 365;
    let day = (about..about + 3_000).find(|days| civil(*days) == (year, month, day)).filter(|_| is_clock)?;
    Some((day * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_the_edges_of_years() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso8601(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(iso8601(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso8601(1_798_761_599_999), "2026-12-31T23:59:59Z");
    }
    #[test]
    fn times_and_days_are_read_and_nothing_else() {
        for text in
            ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-12-31T12:00:30Z", "9999-12-31T00:00:00Z"]
        {
            assert_eq!(parsed(text).map(iso8601).as_deref(), Some(text));
        }
        assert_eq!(parsed("1970-01-02"), Some(86_400_000));
        assert_eq!(parsed("1970-01-01T00:00:01.500Z"), Some(1_000));
        for text in ["", "soon", "2026-02-29", "2026-13-01", "2026-11-23T25:00:00Z", "1969-12-31", "2026-11"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
