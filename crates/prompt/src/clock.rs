//! The time of day that a template may print, as plain fields, and Python's `strftime` over them.
//!
//! The crate asks no clock and knows no time zone: the caller says what time it is ([`LocalTime`]), so that the same
//! conversation renders to the same text.
//!
//! *Invariant*: formatting cannot fail and its result is bounded by the length of the format.

use std::fmt::Write;

/// A moment in the proleptic Gregorian calendar, in the time zone of whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Years, such as 2026.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
}

const DAY_NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SECONDS_PER_DAY: i64 = 86_400;

impl Default for LocalTime {
    /// The first second of 1970.
    fn default() -> Self {
        Self::from_unix_seconds(0)
    }
}

impl LocalTime {
    /// The moment so many seconds after the start of 1970. For local time add the zone's offset to the seconds first.
    ///
    /// The date is found by counting in eras of 400 years that begin in March, as in Howard Hinnant's "chrono-Compatible
    /// Low-Level Date Algorithms".
    pub fn from_unix_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY) + 719_468;
        let rest = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096).div_euclid(365);
        let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let day = (day_of_march_year - (153 * march_month + 2) / 5 + 1) as u32;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 } as u32;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day, hour: rest / 3_600, minute: rest / 60 % 60, second: rest % 60 }
    }

    fn is_leap_year(&self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    /// 1 to 366.
    fn day_of_year(&self) -> u32 {
        const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        DAYS_BEFORE[self.month_index()] + self.day + u32::from(self.month > 2 && self.is_leap_year())
    }

    /// 0 is Sunday.
    fn day_of_week(&self) -> usize {
        let before = self.year - 1;
        let days = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
        (days + i64::from(self.day_of_year())).rem_euclid(7) as usize
    }

    fn month_index(&self) -> usize {
        (self.month.clamp(1, 12) - 1) as usize
    }

    fn hour_of_half_day(&self) -> u32 {
        (self.hour + 11) % 12 + 1
    }

    /// The moment in words, by the directives of Python's `datetime.strftime` in the C locale.
    ///
    /// `%-d` and the like leave out the padding. The zone directives `%z` and `%Z` give nothing, as for a Python datetime
    /// without a zone; a directive that is not known stays as it is.
    pub fn strftime(&self, format: &str) -> String {
        let mut out = String::with_capacity(format.len() * 2);
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let mut directive = characters.clone();
            let padded = !directive.as_str().starts_with('-');
            if !padded {
                directive.next();
            }
            match directive.next() {
                Some(letter) if self.write_directive(&mut out, letter, padded) => characters = directive,
                _ => out.push('%'),
            }
        }
        out
    }

    /// Writes one directive; false if the letter means nothing here.
    fn write_directive(&self, out: &mut String, letter: char, padded: bool) -> bool {
        let month = MONTH_NAMES[self.month_index()];
        let day = DAY_NAMES[self.day_of_week()];
        let mut number = |value: i64, width: usize| {
            let width = if padded { width } else { 0 };
            // Writing to a string cannot fail.
            let _ = write!(out, "{value:0width$}");
        };
        match letter {
            'Y' => number(self.year, 4),
            'y' => number(self.year.rem_euclid(100), 2),
            'm' => number(self.month.into(), 2),
            'd' => number(self.day.into(), 2),
            'H' => number(self.hour.into(), 2),
            'I' => number(self.hour_of_half_day().into(), 2),
            'M' => number(self.minute.into(), 2),
            'S' => number(self.second.into(), 2),
            'j' => number(self.day_of_year().into(), 3),
            'f' => number(0, 6),
            'w' => number(self.day_of_week() as i64, 1),
            'u' => number((self.day_of_week() as i64 + 6) % 7 + 1, 1),
            'e' => {
                let width = if padded { 2 } else { 0 };
                let _ = write!(out, "{:>width$}", self.day);
            }
            'B' => out.push_str(month),
            'b' | 'h' => out.push_str(&month[..3]),
            'A' => out.push_str(day),
            'a' => out.push_str(&day[..3]),
            'p' => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            'F' => out.push_str(&self.strftime("%Y-%m-%d")),
            'T' | 'X' => out.push_str(&self.strftime("%H:%M:%S")),
            'R' => out.push_str(&self.strftime("%H:%M")),
            'D' | 'x' => out.push_str(&self.strftime("%m/%d/%y")),
            'c' => out.push_str(&self.strftime("%a %b %e %H:%M:%S %Y")),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'z' | 'Z' => {}
            '%' => out.push('%'),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_a_date() {
        // Values of Python's datetime.fromtimestamp(seconds, timezone.utc).
        let cases = [
            (0, "1970-01-01 00:00:00 Thu 001"),
            (-1, "1969-12-31 23:59:59 Wed 365"),
            (951_782_400, "2000-02-29 00:00:00 Tue 060"),
            (951_868_799, "2000-02-29 23:59:59 Tue 060"),
            (978_220_800, "2000-12-31 00:00:00 Sun 366"),
            (1_795_248_671, "2026-11-21 08:11:11 Sat 325"),
            (4_107_542_400, "2100-03-01 00:00:00 Mon 060"),
        ];
        for (seconds, text) in cases {
            assert_eq!(LocalTime::from_unix_seconds(seconds).strftime("%Y-%m-%d %H:%M:%S %a %j"), text);
        }
    }

    #[test]
    fn directives_follow_python() {
        let time = LocalTime { year: 2026, month: 3, day: 7, hour: 0, minute: 5, second: 9 };
        let cases = [
            ("%d %b %Y", "07 Mar 2026"),
            ("%B %-d, %Y", "March 7, 2026"),
            ("%A %a %e", "Saturday Sat  7"),
            ("%I:%M %p", "12:05 AM"),
            ("%F %T %R %D", "2026-03-07 00:05:09 00:05 03/07/26"),
            ("%w %u %y %j", "6 6 26 066"),
            ("100%% %Q %", "100% %Q %"),
            ("[%Z%z]", "[]"),
            ("%c", "Sat Mar  7 00:05:09 2026"),
        ];
        for (format, text) in cases {
            assert_eq!(time.strftime(format), text, "{format}");
        }
    }

    #[test]
    fn impossible_fields_do_not_panic() {
        let time = LocalTime { year: i64::from(i32::MIN), month: 99, day: 99, hour: 99, minute: 99, second: 99 };
        assert!(!time.strftime("%c %j %A %I %p").is_empty());
    }
}
