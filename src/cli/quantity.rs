//! Sizes and times as people write them. Pure functions; a refusal names the value and a way to write it.

use std::time::Duration;

use bytesize::ByteSize;

use crate::engine::{ChunkPolicy, FreeSpace};
use crate::units::ChunkSize;
use crate::vfs::MetadataTtl;

/// Splits `text` after its leading number (digits, perhaps with one decimal point).
fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// `number` times `unit`, where `number` is decimal digits with at most one point, in whole units of 1.
fn scaled(number: &str, unit: u128) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 || whole.len() > 20 {
        return None;
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let part = fraction.parse::<u128>().ok()? * unit / 10u128.pow(digits);
    u64::try_from(whole.checked_add(part)?).ok()
}

/// Reads a size that is not nothing: a rate of nothing would never end.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err(format!(
            "at '{text}' a second it would never end: write 1K or more, or leave it out"
        )),
        rate => Ok(rate),
    }
}

/// Reads a rate of the scrub in bytes a second, where `max`, which is 0, is no limit.
pub(super) fn parse_scrub_rate(text: &str) -> Result<u64, String> {
    match text.trim() {
        "max" => Ok(0),
        text => parse_rate(text).map_err(|e| format!("{e}, or 'max'")),
    }
}

/// The rate of the scrub that begins by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ScrubRate {
    /// None begins.
    Off,
    /// So many bytes a second; 0 is no limit.
    Limit(u64),
}

impl ScrubRate {
    /// Reads a rate, `max` or `off`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "off" => Ok(Self::Off),
            text => parse_scrub_rate(text)
                .map(Self::Limit)
                .map_err(|e| format!("{e} or 'off'")),
        }
    }

    /// The rate, if there is to be a scrub.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Limit(rate) => Some(rate),
        }
    }
}

/// Reads a size: `65536`, `512M`, `10G`, `1.5T`, `1GiB`. K, M, G and T are powers of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let way_out = "write a number and K, M, G or T (powers of 1024), as in 512M or 10G";
    let (number, unit) = split(text.trim());
    let unit: u128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(format!("'{text}' is not a size: {way_out}")),
    };
    scaled(number, unit).ok_or_else(|| format!("'{text}' is not a size: {way_out}"))
}

/// Reads what has to stay free of a disk: `10%`, `10` or `0.1`, or three marks, `10/7/3`. A number below 1 without a sign is
/// a share, any other one a percentage.
pub(super) fn parse_free_space(text: &str) -> Result<FreeSpace, String> {
    let marks: Option<Vec<u16>> = text.split('/').map(parts_per_thousand).collect();
    match marks.as_deref() {
        Some([run]) => FreeSpace::from_run(*run),
        Some([run, cull, stop]) => FreeSpace::new(*run, *cull, *stop),
        _ => Err(format!(
            "'{text}' is not a share of a disk: write 10% or 0.1, or three marks RUN/CULL/STOP as in 10/7/3, in steps of 0.1 %"
        )),
    }
}

fn parts_per_thousand(text: &str) -> Option<u16> {
    let (number, sign) = split(text.trim());
    let is_share = number.starts_with("0.") && sign.is_empty();
    if !["", "%"].contains(&sign) {
        return None;
    }
    // In thousandths of what is counted, so that finer steps are told from none.
    let parts = scaled(number, if is_share { 1_000_000 } else { 10_000 })?;
    (parts % 1000 == 0).then_some(parts / 1000)?.try_into().ok()
}

/// Reads a time: `500ms`, `30s`, `5m`, `1h`, `1d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let way_out = "write a number and ms, s, m, h or d, as in 500ms, 30s, 5m or 1d";
    let (number, unit) = split(text.trim());
    let nanos: u128 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "" if number == "0" => 1,
        _ => return Err(format!("'{text}' is not a time: {way_out}")),
    };
    scaled(number, nanos)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("'{text}' is not a time: {way_out}"))
}

/// Reads a time that is more than nothing.
pub(super) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("'{text}' is too short: write 1ms or more")),
        duration => Ok(duration),
    }
}

/// Reads for how long metadata is believed: a time, `minimal` or `indefinite`. A bare number is seconds, as other programs
/// have it.
pub(super) fn parse_metadata_ttl(text: &str) -> Result<MetadataTtl, String> {
    match text.trim() {
        "minimal" => Ok(MetadataTtl::Minimal),
        "indefinite" => Ok(MetadataTtl::Indefinite),
        bare if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) => {
            parse_metadata_ttl(&format!("{bare}s"))
        }
        time => parse_duration(time)
            .map(MetadataTtl::For)
            .map_err(|e| format!("{e}; or write minimal or indefinite")),
    }
}

/// Reads a chunk size: `auto` or a power of two from `64K` to `64M`.
pub(super) fn parse_chunk_policy(text: &str) -> Result<ChunkPolicy, String> {
    if text.trim() == "auto" {
        return Ok(ChunkPolicy::Auto);
    }
    let bytes = parse_size(text).map_err(|e| format!("{e}, or 'auto'"))?;
    ChunkSize::from_bytes(bytes)
        .map(ChunkPolicy::Fixed)
        .map_err(|_| {
            format!("'{text}' is not a chunk size: say auto, or a power of two from 64K to 64M")
        })
}

/// Reads an address to listen at: `localhost:9567`, `[::1]:9567`, `:9567`.
pub(super) fn parse_listen(text: &str) -> Result<String, String> {
    let port = text.trim().rsplit_once(':').map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.trim().to_owned()),
        _ => Err(format!(
            "'{text}' is not an address: write a host and a port, as in localhost:9567, or :9567"
        )),
    }
}

/// A size or an amount of data, always in powers of 1024: `10.0 GiB`.
pub(super) fn show_size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A time in the unit that reads best: `1.2 ms`, `340 ms`, `2.64 s`.
pub(super) fn show_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

/// A rate: `408 MiB/s`.
pub(super) fn show_rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-9);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate for people needs no more than three digits"
    )]
    let rate = bytes as f64 / f64::from(1 << 20) / seconds;
    match rate {
        r if r < 10.0 => format!("{r:.1} MiB/s"),
        r => format!("{r:.0} MiB/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("512M", 512 << 20),
            ("10G", 10 << 30),
            ("1GiB", 1 << 30),
            ("1 gb", 1 << 30),
            ("1T", 1 << 40),
            ("1.5G", 3 << 29),
            ("64k", 65536),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "G",
            "10X",
            "-1G",
            "1.2.3G",
            "1.G",
            "99999999T",
            "ten",
            "1e9",
        ] {
            let error = parse_size(bad).unwrap_err();
            assert!(
                error.contains(&format!("'{bad}'")) && error.contains("10G"),
                "{error}"
            );
        }
    }

    #[test]
    fn free_space_is_a_share_or_three_marks() {
        let default = FreeSpace::default();
        for text in ["10%", "0.1", "10", "10/7/3", "10%/7%/3%", "0.10/0.07/0.03"] {
            assert_eq!(parse_free_space(text), Ok(default), "{text}");
        }
        assert_eq!(parse_free_space("0"), Ok(FreeSpace::NONE));
        assert_eq!(parse_free_space("2.5%").unwrap().run(), 25);
        for bad in [
            "", "ten", "10/7", "10/7/3/1", "-1", "0.0001", "10 GB", "1e1",
        ] {
            let error = parse_free_space(bad).unwrap_err();
            assert!(error.contains(&format!("'{bad}'")) && error.contains("10/7/3"));
        }
        assert!(parse_free_space("3/7/10").unwrap_err().contains("order"));
        assert!(parse_free_space("100%").unwrap_err().contains("nothing"));
        assert!(parse_free_space("2000").unwrap_err().contains("nothing"));
    }

    #[test]
    fn a_scrub_has_a_rate_or_none() {
        assert_eq!(parse_scrub_rate("32M"), Ok(32 << 20));
        assert_eq!(parse_scrub_rate("max"), Ok(0));
        assert!(parse_scrub_rate("0").unwrap_err().contains("'max'"));
        let limit = |text| ScrubRate::parse(text).map(ScrubRate::limit);
        assert_eq!(limit("off"), Ok(None));
        assert_eq!(limit("1G"), Ok(Some(1 << 30)));
        assert_eq!(limit("max"), Ok(Some(0)));
        assert!(limit("fast").unwrap_err().contains("'off'"));
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1.5s", 1500),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
        for bad in ["", "30", "s", "1w", "-1s", "99999999999999h"] {
            let error = parse_duration(bad).unwrap_err();
            assert!(error.contains(&format!("'{bad}'")) && error.contains("30s"));
        }
        assert!(parse_positive_duration("0s").is_err());
    }

    #[test]
    fn metadata_is_believed_for_a_time_or_by_a_word() {
        let millis = |n| Ok(MetadataTtl::For(Duration::from_millis(n)));
        assert_eq!(parse_metadata_ttl("1d"), millis(86_400_000));
        assert_eq!(parse_metadata_ttl("500ms"), millis(500));
        assert_eq!(parse_metadata_ttl("7"), millis(7000));
        assert_eq!(parse_metadata_ttl("minimal"), Ok(MetadataTtl::Minimal));
        assert_eq!(
            parse_metadata_ttl("indefinite"),
            Ok(MetadataTtl::Indefinite)
        );
        for bad in ["", "s", "-1s", "1w", "99999999999999999999h", "ü", "soon"] {
            let error = parse_metadata_ttl(bad).unwrap_err();
            for word in ["is not a time", "500ms", "minimal or indefinite"] {
                assert!(error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn chunks_have_a_word_of_their_own() {
        assert_eq!(parse_chunk_policy("auto"), Ok(ChunkPolicy::Auto));
        let four = ChunkSize::from_bytes(4 << 20).unwrap();
        assert_eq!(parse_chunk_policy("4M"), Ok(ChunkPolicy::Fixed(four)));
        for bad in ["63K", "5M", "32K", "128M", "0"] {
            assert!(parse_chunk_policy(bad).unwrap_err().contains("64K to 64M"));
        }
        assert!(parse_chunk_policy("big").unwrap_err().contains("auto"));
    }

    #[test]
    fn an_address_has_a_port() {
        for good in [":9567", "localhost:1", "[::1]:9567", "10.0.0.1:0"] {
            assert_eq!(parse_listen(good).as_deref(), Ok(good));
        }
        for bad in ["9567", "localhost", "localhost:", ":99999", ""] {
            assert!(parse_listen(bad).unwrap_err().contains(":9567"), "{bad}");
        }
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(show_size(10 << 30), "10.0 GiB");
        assert_eq!(show_time(Duration::from_micros(1230)), "1.2 ms");
        assert_eq!(show_time(Duration::from_millis(340)), "340 ms");
        assert_eq!(show_time(Duration::from_millis(2640)), "2.64 s");
        assert_eq!(show_rate(1 << 30, Duration::from_secs(2)), "512 MiB/s");
        assert_eq!(show_rate(1, Duration::from_secs(1)), "0.0 MiB/s");
    }
}
