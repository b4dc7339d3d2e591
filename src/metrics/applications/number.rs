//! [`Number`]: a floating-point number as `prometheus_client` writes it, so that a series keeps its labels.

use std::fmt;

/// A value, or the bound of a bucket.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Number(pub(in crate::metrics) f64);

impl fmt::Display for Number {
    /// As `floatToGoString` does: `1.0`, `1e+06`, `1e-05`, `+Inf`, `NaN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.is_nan() {
            return f.write_str("NaN");
        }
        if number.is_infinite() {
            return f.write_str(if number > 0.0 { "+Inf" } else { "-Inf" });
        }
        let text = format!("{number:?}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            return write!(f, "{mantissa}e{sign}{digits:0>2}");
        }
        match text.split_once('.') {
            Some((whole, rest)) if number > 0.0 && whole.len() > 6 => {
                let mantissa = format!("{}.{}{rest}", &whole[..1], &whole[1..]);
                let mantissa = mantissa.trim_end_matches(['0', '.']);
                write!(f, "{mantissa}e+{:02}", whole.len() - 1)
            }
            _ => f.write_str(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_package() {
        for (number, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.005, "0.005"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (-1_000_000.0, "-1000000.0"),
            (1e-5, "1e-05"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
