//! Fingerprints of hellos.

pub mod ja3;
pub mod ja4;
pub mod memo;

/// Appends `value` in decimal.
fn push_decimal(out: &mut String, value: u16) {
    let mut divisor = 10_000;
    let mut begun = false;
    while divisor > 0 {
        let digit = u8::try_from(value / divisor % 10).unwrap_or(0);
        begun |= digit != 0 || divisor == 1;
        if begun {
            out.push(char::from(b'0' + digit));
        }
        divisor /= 10;
    }
}

/// Appends `bytes` in lower-case hexadecimal.
fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            out.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_hex() {
        for value in [0, 7, 10, 100, 771, 65_535] {
            let mut out = String::new();
            push_decimal(&mut out, value);
            assert_eq!(out, value.to_string());
        }
        let mut out = String::new();
        push_hex(&mut out, &[0x0a, 0xff]);
        assert_eq!(out, "0aff");
    }
}
