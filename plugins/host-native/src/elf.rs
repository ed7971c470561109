//! Is this file a shared library for this machine? Reads the ELF header before anything of the file is mapped, so that a
//! wrong or cut file is an error message and not a crash.

/// Checks class, byte order, machine and that all segments are in the file.
///
/// # Errors
/// What is wrong, for the operator.
pub(crate) fn check(file: &[u8]) -> Result<(), String> {
    let Some(header) = file.get(..64) else {
        return Err("it is no shared library (too short)".to_owned());
    };
    if header[..4] != *b"\x7fELF" {
        return Err("it is no shared library (not ELF)".to_owned());
    }
    if header[4] != 2 || header[5] != 1 {
        return Err("it is for a machine with other words (not 64 bits, little-endian)".to_owned());
    }
    if u16_at(header, 16) != SHARED {
        return Err("it is a program or an object, not a shared library".to_owned());
    }
    let machine = u16_at(header, 18);
    if OURS.is_some_and(|ours| machine != ours) {
        return Err(format!(
            "it is for another machine ({}), this is {}",
            name(machine),
            std::env::consts::ARCH
        ));
    }
    segments(file, header).ok_or_else(|| "it is cut short or damaged".to_owned())
}

/// Checks that what will be mapped is there: the system kills a process that touches a mapping beyond its file.
fn segments(file: &[u8], header: &[u8]) -> Option<()> {
    let start = usize::try_from(u64_at(header, 32)).ok()?;
    let (size, count) = (usize::from(u16_at(header, 54)), usize::from(u16_at(header, 56)));
    if size < 56 || count == 0 {
        return None;
    }
    let table = file.get(start..start.checked_add(size.checked_mul(count)?)?)?;
    for segment in table.chunks_exact(size) {
        let end = u64_at(segment, 8).checked_add(u64_at(segment, 32))?;
        if u32_at(segment, 0) == LOADED && end > file.len() as u64 {
            return None;
        }
    }
    Some(())
}

fn name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("number {machine}"), |(_, name)| (*name).to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(take(bytes, at))
}

/// Zeros where there is nothing.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

/// `ET_DYN`.
const SHARED: u16 = 3;
/// `PT_LOAD`.
const LOADED: u32 = 1;
const MACHINES: [(u16, &str); 4] = [(62, "x86_64"), (183, "aarch64"), (243, "riscv64"), (3, "x86")];
const OURS: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else {
    None
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest library: a header and one segment that is the whole file.
    fn library(machine: u16) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 3;
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 1;
        let len = u64::try_from(file.len()).unwrap();
        file[64 + 32..64 + 40].copy_from_slice(&len.to_le_bytes());
        file
    }

    #[test]
    fn only_a_whole_library_for_this_machine_passes() {
        let Some(ours) = OURS else { return };
        let whole = library(ours);
        assert_eq!(check(&whole), Ok(()));
        for len in 0..whole.len() {
            assert!(check(&whole[..len]).is_err(), "{len}");
        }
        let other = if ours == 62 { 183 } else { 62 };
        assert!(check(&library(other)).unwrap_err().contains("another machine"));
        assert!(check(&[b'#'; 200]).unwrap_err().contains("not ELF"));
    }

    #[test]
    fn no_header_makes_it_panic() {
        let whole = library(OURS.unwrap_or(62));
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = check(&broken);
            }
        }
    }
}
