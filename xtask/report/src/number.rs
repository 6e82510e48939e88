//! Numbers for people.

/// Three significant digits, thousands apart: `0.0123`, `1.23`, `12.3`, `123`, `1,230`.
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first: 9.999 has one digit more than it seems.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let magnitude = rounded.abs().log10().floor();
    if magnitude < -6.0 {
        return format!("{rounded:e}");
    }
    if magnitude >= 3.0 {
        return grouped(value.round());
    }
    format!("{rounded:.*}", (2.0 - magnitude) as usize)
}

/// As few digits as are exact: for settings rather than measurements.
pub fn exact(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() >= 1e4 { grouped(value) } else { format!("{value}") }
}

/// µs in the unit that suits it.
pub fn duration(us: f64) -> String {
    let (value, unit) = match us.abs() {
        t if t >= 1e6 => (us / 1e6, "s"),
        t if t >= 1e3 => (us / 1e3, "ms"),
        t if t >= 1.0 || t == 0.0 => (us, "µs"),
        _ => (us * 1e3, "ns"),
    };
    format!("{} {unit}", short(value))
}

/// A change relative to something, in percent, with its sign.
pub fn change(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 0.05 { "0.0 %".into() } else { format!("{percent:+.1} %").replace('-', "−") }
}

/// A share in percent, with two decimals.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A whole number with its thousands apart.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept() {
        let shown: Vec<String> =
            [0.0, 0.012_34, 1.0, 9.999, 12.34, 123.4, 999.9, 1234.0, 1_234_567.0, -3.5, 2e-9]
                .into_iter()
                .map(short)
                .collect();
        let expected =
            ["0", "0.0123", "1.00", "10.0", "12.3", "123", "1,000", "1,234", "1,234,567", "-3.50", "2e-9"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn settings_are_shown_exactly() {
        assert_eq!([exact(0.01), exact(128.0), exact(16_384.0)], ["0.01", "128", "16,384"]);
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let shown = [0.0, 0.5, 8.0, 1500.0, 2.5e6].map(duration);
        assert_eq!(shown, ["0 µs", "500 ns", "8.00 µs", "1.50 ms", "2.50 s"]);
    }

    #[test]
    fn changes_have_a_sign() {
        assert_eq!([change(0.1), change(-0.051), change(0.0001)], ["+10.0 %", "−5.1 %", "0.0 %"]);
    }

    #[test]
    fn shares_have_two_decimals() {
        assert_eq!([percent(0.1704), percent(0.000_893)], ["17.04 %", "0.09 %"]);
    }
}
