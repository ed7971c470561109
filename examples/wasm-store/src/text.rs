//! What goes over the wire: records and operations as text.

use plugin_sdk::Record;
use plugin_sdk::prelude::*;

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Reads hexadecimal digits.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, StoreFault> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| StoreFault::Corrupt("the server's text is no hexadecimal number".to_owned()))
}

/// Reads a line of a scan.
pub(crate) fn record(line: &str) -> Result<Record, StoreFault> {
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    Ok((bytes(key)?, bytes(value)?))
}

/// Writes a batch, one line for each operation.
pub(crate) fn commands(batch: &[StoreOp]) -> String {
    batch.iter().map(|op| command(op) + "\n").collect()
}

fn command(op: &StoreOp) -> String {
    match op {
        StoreOp::Put { key, value } => format!("put {} {}", hex(key), hex(value)),
        StoreOp::Delete { key } => format!("delete {}", hex(key)),
        StoreOp::Expect {
            key,
            value: Some(value),
        } => format!("expect {} {}", hex(key), hex(value)),
        StoreOp::Expect { key, value: None } => format!("absent {}", hex(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for sample in [&b""[..], b"\0", b"\xff\x10a"] {
            assert_eq!(bytes(&hex(sample)), Ok(sample.to_vec()));
        }
        assert_eq!(hex(b"\x0a\xff"), "0aff");
        for odd in ["0", "0g", "0aé"] {
            assert!(bytes(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_batch_is_a_line_for_each_operation() {
        let (key, value) = (b"k".to_vec(), b"v".to_vec());
        let batch = [
            StoreOp::Put {
                key: key.clone(),
                value: value.clone(),
            },
            StoreOp::Delete { key: key.clone() },
            StoreOp::Expect {
                key: key.clone(),
                value: Some(value.clone()),
            },
            StoreOp::Expect {
                key: key.clone(),
                value: None,
            },
        ];
        assert_eq!(
            commands(&batch),
            "put 6b 76\ndelete 6b\nexpect 6b 76\nabsent 6b\n"
        );
        assert_eq!(record("6b 76"), Ok((key.clone(), value)));
        assert_eq!(record("6b "), Ok((key, Vec::new())));
    }
}
