//! What every command takes, and values that several of them read.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mantle_domain::upkeep::Keep;

use super::output::Format;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How data is printed on standard output; everything else goes to standard error
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        env = "MANTLE_OUTPUT",
        hide_env_values = true
    )]
    pub output: Format,
    /// The server's URL, instead of the stored login's; the key comes from the environment's
    /// `MANTLE_TOKEN` or from that login
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MANTLE_URL",
        hide_env_values = true
    )]
    pub server: Option<String>,
    /// The data directory of the server on this machine; commands then need no login
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MANTLE_DATA",
        hide_env_values = true
    )]
    pub data: Option<PathBuf>,
}

/// Reads a span such as `90s`, `10m`, `1h30m` or `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is not a span of time; write it like 30s, 10m, 1h30m or 7d");
    let (mut seconds, mut number, mut units) = (0_u64, String::new(), 0);
    for c in text.trim().chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(bad()),
        };
        let count: u64 = number.parse().map_err(|_| bad())?;
        number.clear();
        units += 1;
        seconds = count
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(bad)?;
    }
    // A century: beyond it only slips of the finger are found, and arithmetic on times is safe.
    if units == 0 || !number.is_empty() || seconds > 100 * 366 * 86_400 {
        return Err(bad());
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a size such as `500kB`, `64MiB` or `20GiB`, in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a size; write it like 500kB, 64MiB or 20GiB");
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (count, unit) = text.split_at(unit_at);
    let unit: u64 = match unit {
        "B" => 1,
        "kB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    let count: u64 = count.parse().map_err(|_| bad())?;
    count.checked_mul(unit).ok_or_else(bad)
}

/// Reads how much of something is kept: an age, a size, or both with a comma between.
pub fn keep(text: &str) -> Result<Keep, String> {
    let bad =
        || format!("'{text}' is neither an age nor a size; write it like 90d, 20GiB or 90d,20GiB");
    let mut keep = Keep::default();
    for part in text.split(',') {
        match (duration(part), size(part)) {
            (Ok(age), _) if keep.age_ms.is_none() => {
                keep.age_ms = Some(u64::try_from(age.as_millis()).map_err(|_| bad())?);
            }
            (_, Ok(bytes)) if keep.size_bytes.is_none() => keep.size_bytes = Some(bytes),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => return Err(bad()),
        }
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_explained() {
        for (text, bytes) in [
            ("0B", 0),
            ("500kB", 500_000),
            ("64MiB", 64 << 20),
            ("20GiB", 20 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "10",
            "MiB",
            "10 MiB",
            "1.5GiB",
            "-1MiB",
            "99999999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_an_age_a_size_or_both() {
        let day_ms = 86_400_000;
        for (text, age_ms, size_bytes) in [
            ("90d", Some(90 * day_ms), None),
            ("1GiB", None, Some(1 << 30)),
            ("1d,2MiB", Some(day_ms), Some(2 << 20)),
            ("2MiB,1d", Some(day_ms), Some(2 << 20)),
        ] {
            assert_eq!(keep(text), Ok(Keep { age_ms, size_bytes }), "{text}");
        }
        for text in ["", "90", "1d,2d", "1GiB,2GiB", "1d,", "1d 2MiB", "for ever"] {
            assert!(keep(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_read_and_nonsense_is_explained() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "m", "10x", "1h30", "999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
