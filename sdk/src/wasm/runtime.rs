//! What `std` would bring: an allocator, and what happens on a panic.

use alloc::string::ToString as _;
use core::panic::PanicInfo;

use dlmalloc::GlobalDlmalloc;

use super::bindings::base::jackfield::plugin::log::{Level, write};

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

/// Tells the log, and ends the instance.
#[panic_handler]
fn panicked(panic: &PanicInfo<'_>) -> ! {
    write(Level::Error, &panic.to_string());
    core::arch::wasm32::unreachable()
}
