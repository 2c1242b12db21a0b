//! The program's log lines, to stderr: `[2026-11-30T03:47:20Z INFO  tidegate::gateway] words`, with colours on a terminal.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::LevelFilter;

const SECONDS_PER_DAY: u64 = 86_400;

/// What others' modules say below a warning is not for operators.
pub(super) fn log_to_stderr(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn)).filter_module(env!("CARGO_PKG_NAME"), level);
    builder.format(|out, record| {
        let style = out.default_level_style(record.level());
        let (level, module, words) = (record.level(), record.target(), record.args());
        writeln!(out, "[{} {style}{level:<5}{style:#} {module}] {words}", now())
    });
    // A program that embeds the gateway may have a logger of its own.
    _ = builder.try_init();
}

fn now() -> String {
    in_words(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// UTC as RFC 3339 writes it, of a count of seconds since 1970.
fn in_words(seconds: u64) -> String {
    let (days, time) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3_600, time / 60 % 60, time % 60)
}

/// Year, month and day of a count of days since 1970. Years are counted from March on: the leap day is then the last of its year, and
/// the months before any month have 153 days for each five.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_400_YEARS: u64 = 146_097;
    const DAYS_BEFORE_1970: u64 = 719_468;
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (seconds, words) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_796_010_440, "2026-11-30T03:47:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn each_day_follows_the_one_before_it() {
        let length = |year: u64, month: u64| match month {
            2 if year.is_multiple_of(400) || (year.is_multiple_of(4) && !year.is_multiple_of(100)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1970, 1, 1);
        for days in 0..100_000 {
            assert_eq!(date(days), expected);
            let (year, month, day) = expected;
            expected = match (day == length(year, month), month == 12) {
                (false, _) => (year, month, day + 1),
                (true, false) => (year, month + 1, 1),
                (true, true) => (year + 1, 1, 1),
            };
        }
    }
}
