//! How many instructions the pieces of the hot path take, against a record in the tree: a change that makes one dearer by a
//! tenth fails here. Instructions don't depend on how busy a machine is; on the compiler, the C library and the processor they
//! do, so the record says which those were, and elsewhere nothing is compared.
//!
//! What is counted is `broker-core/src/micro.rs`. To make the record anew, because something got cheaper, or dearer for a
//! reason:
//!
//! ```text
//! JACKFIELD_RECORD=1 cargo test -p jackfield-tests --test counts
//! ```
#![forbid(unsafe_code)]

mod counted;
mod record;

use std::fmt::Write as _;
use std::io::Write as _;

use counted::Counted;
use record::{Machine, Record};

/// So many times the recorded number is too much, and so many times is a reason to make the record anew.
const DEARER: f64 = 1.10;
const CHEAPER: f64 = 0.90;

/// Writes past the test harness, which hides what a test that passes has to say.
fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody listens: nothing is lost.
    let _written = writeln!(err, "counts: {text}");
}

#[test]
fn the_hot_path_takes_no_more_instructions_than_recorded() {
    let Some(machine) = Machine::here() else {
        assert!(
            std::env::var_os("JACKFIELD_CI").is_none(),
            "valgrind is not installed"
        );
        return say("not run: valgrind is not installed");
    };
    let recording = std::env::var_os("JACKFIELD_RECORD").is_some();
    let record = Record::read();
    if record.machine != machine && !recording {
        return say(&format!(
            "NOT COMPARED: the record is of {}, this is {machine}",
            record.machine
        ));
    }
    let counted = Counted::build();
    let now = counted.all(&record.instructions);
    if recording {
        let record = Record {
            machine,
            instructions: now,
        };
        record.write();
        return say("recorded; look at the difference before you commit it");
    }

    let mut wrong = String::new();
    for (name, count) in &now {
        let Some(before) = record.instructions.get(name) else {
            let _ = writeln!(wrong, "{name}: {count:.0} instructions, none recorded");
            continue;
        };
        let times = count / before;
        if times > DEARER {
            let _ = writeln!(
                wrong,
                "{name}: {count:.0} instructions, {before:.0} recorded: {times:.2} times as many"
            );
        } else if times < CHEAPER {
            say(&format!(
                "{name} takes {times:.2} times what is recorded: make the record anew"
            ));
        }
    }
    for name in record.instructions.keys().filter(|name| !now.contains_key(*name)) {
        let _ = writeln!(wrong, "{name}: recorded, but there is no such case");
    }
    assert!(
        wrong.is_empty(),
        "{wrong}If that is as it should be: JACKFIELD_RECORD=1 cargo test -p jackfield-tests --test counts"
    );
}
