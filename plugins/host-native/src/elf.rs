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

/// Returns what of a library makes it unfit for being loaded again beside itself, as a swap does: it works, but not for ever or not
/// apart. Only for files that [`check`] has passed.
pub(crate) fn peculiarities(file: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    if has_static_tls(file).unwrap_or(false) {
        found.push(
            "its thread-local storage is static: only a few copies of it can be loaded (build it with -fPIC)",
        );
    }
    if has_unique_symbols(file).unwrap_or(false) {
        found.push("copies of it share variables of C++ templates (build it with -fno-gnu-unique)");
    }
    found
}

/// Tells whether the dynamic section has the flag.
fn has_static_tls(file: &[u8]) -> Option<bool> {
    let (start, size, count) = (u64_at(file, 32), u16_at(file, 54), u16_at(file, 56));
    let table = table(file, start, size, count)?;
    let mut segments = table.chunks_exact(usize::from(size));
    let dynamic = segments.find(|segment| u32_at(segment, 0) == DYNAMIC)?;
    let entries = bytes(file, u64_at(dynamic, 8), u64_at(dynamic, 32))?;
    let mut entries = entries.chunks_exact(16);
    Some(entries.any(|entry| u64_at(entry, 0) == FLAGS && u64_at(entry, 8) & STATIC_TLS != 0))
}

/// Tells whether a dynamic symbol is one for the whole process.
fn has_unique_symbols(file: &[u8]) -> Option<bool> {
    let (start, size, count) = (u64_at(file, 40), u16_at(file, 58), u16_at(file, 60));
    let table = table(file, start, size, count)?;
    let mut sections = table.chunks_exact(usize::from(size));
    let symbols = sections.find(|section| u32_at(section, 4) == DYNAMIC_SYMBOLS)?;
    let symbols = bytes(file, u64_at(symbols, 24), u64_at(symbols, 32))?;
    Some(symbols.chunks_exact(24).any(|symbol| symbol[4] >> 4 == UNIQUE))
}

/// Returns a table of `count` entries of `size` bytes; `None`: it isn't in the file, or empty.
fn table(file: &[u8], start: u64, size: u16, count: u16) -> Option<&[u8]> {
    // A smaller entry hasn't the fields that are looked at.
    (size >= 40).then(|| bytes(file, start, u64::from(size) * u64::from(count)))?
}

fn bytes(file: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let (start, len) = (usize::try_from(start).ok()?, usize::try_from(len).ok()?);
    file.get(start..start.checked_add(len)?)
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
/// `PT_DYNAMIC`.
const DYNAMIC: u32 = 2;
/// `DT_FLAGS`.
const FLAGS: u64 = 30;
/// `DF_STATIC_TLS`.
const STATIC_TLS: u64 = 0x10;
/// `SHT_DYNSYM`.
const DYNAMIC_SYMBOLS: u32 = 11;
/// `STB_GNU_UNIQUE`.
const UNIQUE: u8 = 10;
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
                let _ = (check(&broken), peculiarities(&broken));
            }
        }
    }

    /// Compiles a library; nothing where there is no compiler.
    fn compiled(compiler: &str, source: &str, flags: &[&str]) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let (source_file, library) = (folder.path().join("x.cc"), folder.path().join("x.so"));
        std::fs::write(&source_file, source).unwrap();
        let mut command = std::process::Command::new(compiler);
        let output = command
            .args(flags)
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source_file])
            .output();
        let Ok(output) = output else {
            assert!(
                std::env::var_os("JACKFIELD_ALL_TOOLS").is_none(),
                "{compiler} is not installed"
            );
            println!("not tested: {compiler} is not installed");
            return None;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(std::fs::read(library).unwrap())
    }

    #[test]
    fn what_makes_a_library_unfit_for_swaps_is_seen() {
        let tls = "__thread int x __attribute__((tls_model(\"initial-exec\"))) = 1; int f() { return x; }";
        let unique =
            "template <class T> struct S { static inline int x = 1; }; int f() { return S<int>::x; }";
        for (source, flags, said) in [
            ("int f() { return 1; }", &["-O1"][..], ""),
            (tls, &["-O1"], "static"),
            (unique, &["-std=c++17"], "templates"),
            (unique, &["-std=c++17", "-fno-gnu-unique"], ""),
        ] {
            let Some(library) = compiled("g++", source, flags) else {
                return;
            };
            assert_eq!(check(&library), Ok(()));
            let found = peculiarities(&library).join(" ");
            assert_eq!(found.is_empty(), said.is_empty(), "{source}: {found}");
            assert!(found.contains(said), "{source}: {found}");
        }
    }
}
