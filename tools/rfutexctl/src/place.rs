// SPDX-License-Identifier: GPL-2.0
//! What the command line names: a word of a file, numbers, and times.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A place in a file: `FILE:OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
}

impl Place {
    /// Parses `FILE:OFFSET`. The last colon counts, because a name may have one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (file, offset) = text
            .rsplit_once(':')
            .filter(|(file, _)| !file.is_empty())
            .ok_or("it has to be FILE:OFFSET")?;
        Ok(Self {
            file: file.into(),
            offset: number(offset)?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.offset)
    }
}

/// Parses a number: decimal, or hexadecimal with `0x`, octal with `0o`, binary with `0b`.
pub fn number(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (&text[2..], 16),
        Some("0o" | "0O") => (&text[2..], 8),
        Some("0b" | "0B") => (&text[2..], 2),
        _ => (text, 10),
    };
    // The standard library takes a sign as well.
    if digits.starts_with('+') {
        return Err("it is not a number".to_owned());
    }
    u64::from_str_radix(digits, radix).map_err(|error| match error.kind() {
        std::num::IntErrorKind::PosOverflow => "it does not fit into 64 bits".to_owned(),
        _ => "it is not a number".to_owned(),
    })
}

/// Parses an address: hexadecimal, with or without `0x`, as /proc/PID/maps shows it.
pub fn address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "it is not a hexadecimal address".to_owned())
}

/// Parses a time: a number of seconds, which may have a fraction, or one with the unit `ms`,
/// `s`, `m`, `h` or `d`.
pub fn time(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let (digits, unit) = UNITS
        .iter()
        .find_map(|&(name, seconds)| Some((text.strip_suffix(name)?, seconds)))
        .unwrap_or((text, 1.0));
    let begins_well = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let seconds: f64 = digits
        .parse()
        .ok()
        .filter(|_| begins_well)
        .ok_or("it is not a time, such as 5, 0.2 or 100ms")?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|_| "it is too long".to_owned())
}

/// Parses the size of a word.
pub fn size(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "4" => Ok(4),
        "8" => Ok(8),
        _ => Err("a word has 1, 2, 4 or 8 bytes".to_owned()),
    }
}

/// A time as people read it: two units at most.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match () {
        () if days > 0 => format!("{days}d{hours:02}h"),
        () if hours > 0 => format!("{hours}h{minutes:02}m"),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () if seconds > 0 => format!("{seconds}.{}s", time.subsec_millis() / 100),
        () => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_of_a_place_counts() {
        let place = Place::parse("/dev/shm/a:b:0x10").unwrap();
        assert_eq!(place.file, PathBuf::from("/dev/shm/a:b"));
        assert_eq!(place.offset, 16);
        assert_eq!(place.to_string(), "/dev/shm/a:b:16");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "file", ":4", "file:", "file:x", "file:-1", "file:+1"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_have_four_bases() {
        let values = ["10", "0xff", "0o17", "0b101", "0", "0XFFFFFFFFFFFFFFFF"].map(number);
        assert_eq!(values, [10, 255, 15, 5, 0, u64::MAX].map(Ok));
        for text in [
            "",
            "0x",
            "-1",
            "+1",
            "0x+1",
            "1.5",
            "é",
            "18446744073709551616",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_hexadecimal() {
        assert_eq!(address("7f00"), Ok(0x7f00));
        assert_eq!(address("0x7f00"), Ok(0x7f00));
        assert!(address("word").is_err());
    }

    #[test]
    fn times_have_units() {
        let ms = Duration::from_millis;
        let values = ["5", "0.2", "100ms", "1.5s", "2m", "1h", "1d", ".5"].map(time);
        let expected = [5000, 200, 100, 1500, 120_000, 3_600_000, 86_400_000, 500];
        assert_eq!(values, expected.map(|n| Ok(ms(n))));
        for text in ["", "s", "-1", "1w", "inf", "nan", "1e40"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_with_two_units() {
        let shown = [0.0, 0.25, 1.0, 59.96, 61.0, 3600.0, 90061.0]
            .map(|s| show_time(Duration::from_secs_f64(s)));
        assert_eq!(
            shown,
            ["0ms", "250ms", "1.0s", "59.9s", "1m01s", "1h00m", "1d01h"]
        );
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(size("8"), Ok(8));
        assert!(size("3").is_err() && size("16").is_err());
    }
}
