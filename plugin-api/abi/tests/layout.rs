//! The shapes in Rust, the header in C and `abi.golden` say the same: sizes, offsets and constants. A C compiler is asked
//! where there is one.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plugin_abi::SHAPES;

const HEADER: &str = include_str!("../include/jackfield_plugin.h");
const VALUES: &str = include_str!("../src/values.rs");

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden() -> String {
    std::fs::read_to_string(folder().join("abi.golden")).expect("the golden file is there")
}

/// One line for each shape and field: name, offset, size.
fn rust_layout() -> String {
    let mut text = String::new();
    for (name, size, fields) in SHAPES {
        writeln!(text, "{name} {size}").expect("writing to a string");
        for (field, offset, size) in *fields {
            writeln!(text, "{name}.{field} {offset} {size}").expect("writing to a string");
        }
    }
    text
}

/// Returns the constants of `values.rs` in the order they stand there.
fn constants() -> Vec<(&'static str, i64)> {
    let rows = VALUES.lines().filter_map(|line| line.trim().split_once(" = "));
    let rows = rows.filter(|(name, _)| name.starts_with("JF_"));
    rows.map(|(name, value)| {
        let value = value.trim_end_matches(',');
        let parsed = match value.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => value.parse(),
        };
        (name, parsed.expect("a constant is a number"))
    })
    .collect()
}

/// A C program that prints the same lines from the header.
fn c_program() -> String {
    let mut text = String::from("#include <stdio.h>\n#include \"jackfield_plugin.h\"\nint main(void) {\n");
    for (name, _, fields) in SHAPES {
        writeln!(text, "printf(\"{name} %zu\\n\", sizeof({name}));").expect("writing to a string");
        for (field, ..) in *fields {
            writeln!(
                text,
                "printf(\"{name}.{field} %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));"
            )
            .expect("writing to a string");
        }
    }
    for (name, _) in constants() {
        writeln!(text, "printf(\"{name} %lld\\n\", (long long){name});").expect("writing to a string");
    }
    text + "return 0;\n}\n"
}

/// The compiler, or nothing where there is none; the gate says that there must be one.
fn compiler(name: &str) -> Option<&str> {
    let found = Command::new(name).arg("--version").output().is_ok();
    let must = std::env::var_os("JACKFIELD_ALL_TOOLS").is_some();
    assert!(found || !must, "{name} is not installed");
    if !found {
        println!("not tested: {name} is not installed");
    }
    found.then_some(name)
}

fn compile(compiler: &str, standard: &str, source: &Path, out: &Path) -> Output {
    Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(folder().join("include"))
        .arg("-o")
        .args([out, source])
        .output()
        .expect("the compiler runs")
}

fn assert_compiles(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(target_pointer_width = "64")]
#[test]
fn the_layout_is_the_golden_one() {
    let path = folder().join("abi.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, rust_layout()).expect("the golden file can be written");
    }
    assert_eq!(
        rust_layout(),
        golden(),
        "fields may only be appended; then run with UPDATE_GOLDEN=1"
    );
}

#[test]
fn fields_follow_one_another_without_holes() {
    for (name, size, fields) in SHAPES {
        let mut end = 0;
        for (field, offset, field_size) in *fields {
            assert!(*offset >= end, "{name}.{field} overlaps");
            assert!(offset - end < 8, "{name}.{field} stands behind a hole");
            end = offset + field_size;
        }
        assert!(size - end < 8, "{name} ends with a hole");
    }
}

#[cfg(target_pointer_width = "64")]
#[test]
fn a_c_compiler_sees_the_same_layout_and_constants() {
    let Some(compiler) = compiler("gcc") else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    let (source, program) = (place.path().join("layout.c"), place.path().join("layout"));
    std::fs::write(&source, c_program()).expect("the source can be written");
    assert_compiles(&compile(compiler, "-std=c11", &source, &program));
    let output = Command::new(&program).output().expect("the program runs");
    let mut expected = rust_layout();
    for (name, value) in constants() {
        writeln!(expected, "{name} {value}").expect("writing to a string");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn the_header_compiles_as_cpp() {
    let Some(compiler) = compiler("g++") else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    let source: PathBuf = place.path().join("empty.cpp");
    std::fs::write(
        &source,
        "#include \"jackfield_plugin.h\"\nint main() { return 0; }\n",
    )
    .expect("written");
    assert_compiles(&compile(
        compiler,
        "-std=c++17",
        &source,
        &place.path().join("empty"),
    ));
}

#[test]
fn every_constant_of_the_header_is_here() {
    let known: Vec<_> = constants().into_iter().map(|(name, _)| name).collect();
    let words = HEADER.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let missing: Vec<_> = words
        .filter(|word| {
            [
                "JF_HOOK_", "JF_E", "JF_C_", "JF_NEED_", "JF_F_", "JF_V_", "JF_O_", "JF_D_",
            ]
            .iter()
            .any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
        })
        .filter(|word| !known.contains(word) && *word != "JF_EXPORT")
        .filter(|word| !word.ends_with('_'))
        .collect();
    assert!(missing.is_empty(), "values.rs lacks {missing:?}");
    let handshake = format!("0x{:08x}u", plugin_abi::MAGIC);
    assert!(HEADER.contains(&format!("JF_MAGIC {handshake}")));
    assert!(HEADER.contains(&format!("JF_ABI_MAJOR {}\n", plugin_abi::MAJOR)));
    assert!(HEADER.contains(&format!("JF_ABI_MINOR {}\n", plugin_abi::MINOR)));
}
