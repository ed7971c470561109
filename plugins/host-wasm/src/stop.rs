//! Why a guest was ended, and what that is in the words of `plugin-api`.

use plugin_api::{Fault, FaultKind};
use wasmtime::{Trap, WasmBacktrace};

/// Functions of a backtrace that a fault names.
const FRAMES_MAX: usize = 4;

/// What ends a guest that goes beyond its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// It ran longer than a call may.
    #[error("it ran for more than {0} ms")]
    Cpu(u32),
    /// It wanted more memory than it may have.
    #[error("it wanted more than {0} bytes of memory")]
    Memory(usize),
    /// It wanted a larger table than any guest may have.
    #[error("it wanted a table of more than {0} elements")]
    Table(usize),
    /// The call's deadline passed, or its client went.
    #[error("nobody waits for its answer any more")]
    Unwanted,
    /// It waits for something where it must answer at once.
    #[error("it waits for something where connections are served")]
    Waits,
}

/// Returns what a failed call is. The instance that failed is never called again.
pub(crate) fn fault(error: &wasmtime::Error) -> Fault {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        let kind = match stop {
            Stop::Cpu(_) | Stop::Unwanted | Stop::Waits => FaultKind::Timeout,
            Stop::Memory(_) | Stop::Table(_) => FaultKind::Memory,
        };
        return Fault::new(kind, stop.to_string());
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Fault::new(FaultKind::Trap, format!("it called exit({})", exit.0));
    }
    let why = error.root_cause().to_string();
    match error.downcast_ref::<Trap>() {
        Some(Trap::AllocationTooLarge) => Fault::new(FaultKind::Memory, why),
        Some(_) => Fault::new(FaultKind::Trap, format!("{why}{}", place(error))),
        // What it handed over can't be read: no UTF-8, no such enum case, beyond its memory.
        None => Fault::new(
            FaultKind::Protocol,
            format!("it gave something that makes no sense: {why}"),
        ),
    }
}

/// Returns the functions that a guest was in, innermost first, for the log of whoever wrote it.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Option<String> {
    let trace = error.downcast_ref::<WasmBacktrace>()?;
    (!trace.frames().is_empty()).then(|| trace.to_string())
}

/// Says in which function it was, and who had called that.
fn place(error: &wasmtime::Error) -> String {
    let Some(trace) = backtrace(error) else {
        return String::new();
    };
    // A frame reads `  0:   0x1234 - module!function`, with the lines of the source below it.
    let names = trace.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(':')?;
        number.parse::<usize>().ok()?;
        Some(rest.rsplit_once(" - ").map_or(rest, |(_, name)| name).trim())
    });
    let names: Vec<_> = names.take(FRAMES_MAX).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" in {}", names.join(", called by ")),
    }
}
