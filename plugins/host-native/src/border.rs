//! Reading what stands on the other side: texts, lists and structs that say how large they are. Everything is copied or
//! borrowed for one call, and checked first; a length is never believed beyond its limit.

use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, offset_of};

use plugin_abi::{self as abi, Shape, Str, values::*};

/// The longest text of MQTT.
pub(crate) const TEXT_MAX: usize = 65_535;
/// The largest payload of MQTT.
pub(crate) const DATA_MAX: usize = 268_435_455;
/// The longest list of an interest.
const LIST_MAX: usize = 1024;
/// The longest text of an entry: a schema.
const ENTRY_TEXT_MAX: usize = 1 << 20;

/// A struct that begins (or nearly begins) with its size, and may be all zeros.
///
/// # Safety
/// All bytes zero must be a value of the type, and a `u32` must stand at `SIZE_AT`.
pub(crate) unsafe trait Sized32: Copy + Shape {
    /// Where its size stands.
    const SIZE_AT: usize;
}

macro_rules! sized {
    ($($type:ident,)*) => { $(
        // SAFETY: integers, raw pointers and optional functions; zero is a value of each.
        unsafe impl Sized32 for abi::$type { const SIZE_AT: usize = offset_of!(abi::$type, size); }
    )* };
}
sized!(Entry, Plugin, Interest, SessionStore, Bridge, Out, HttpRequest,);

/// Copies the fields of a struct that its own size covers wholly; the rest is zero. `None`: there is none, or it doesn't even cover
/// `least` bytes.
///
/// # Safety
/// `there` must be null or point to as many readable bytes as the struct says, and at least to its size.
pub(crate) unsafe fn copy<T: Sized32>(there: *const T, least: usize) -> Option<T> {
    if there.is_null() {
        return None;
    }
    // SAFETY: the caller promises that the size can be read; alignment isn't relied on.
    let size = unsafe { there.byte_add(T::SIZE_AT).cast::<u32>().read_unaligned() } as usize;
    if size < least {
        return None;
    }
    // Half a pointer would be a pointer to anywhere.
    let ends = T::FIELDS.iter().map(|(_, offset, size)| offset + size);
    let covered = ends.filter(|end| *end <= size).max().unwrap_or(0);
    let mut here = MaybeUninit::<T>::zeroed();
    // SAFETY: `there` has `size` bytes, `here` has those of T, none is copied beyond either, and they are different memory.
    unsafe {
        std::ptr::copy_nonoverlapping(there.cast::<u8>(), here.as_mut_ptr().cast::<u8>(), covered);
    }
    // SAFETY: zeros are a value of T by its trait, and what was copied over them are whole fields of the plugin's T.
    Some(unsafe { here.assume_init() })
}

/// Borrows bytes; `Ok(None)`: absent.
///
/// # Safety
/// `text` must be absent or point to `len` readable bytes that don't change while the result lives.
pub(crate) unsafe fn bytes<'a>(text: Str, max: usize) -> Result<Option<&'a [u8]>, i32> {
    match (text.ptr.is_null(), text.len) {
        (true, 0) => Ok(None),
        (true, _) => Err(JF_EINVAL),
        (false, len) if len > max => Err(JF_ETOOBIG),
        // SAFETY: not null, and the caller promises the rest.
        (false, len) => Ok(Some(unsafe { std::slice::from_raw_parts(text.ptr, len) })),
    }
}

/// Borrows text: UTF-8 without U+0000.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn text<'a>(text: Str) -> Result<Option<&'a str>, i32> {
    // SAFETY: the caller's promise.
    let Some(bytes) = (unsafe { bytes(text, TEXT_MAX) })? else {
        return Ok(None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text)),
        _ => Err(JF_EINVAL),
    }
}

/// Copies text whatever it is, for logs.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn lossy(text: Str) -> String {
    let cut = Str {
        len: text.len.min(TEXT_MAX),
        ..text
    };
    // SAFETY: the caller's promise; the text was only made shorter.
    let bytes = unsafe { bytes(cut, TEXT_MAX) };
    String::from_utf8_lossy(bytes.ok().flatten().unwrap_or_default()).into_owned()
}

/// Copies a list of texts, each of them present. The error says what is wrong with it.
///
/// # Safety
/// `first` must be null or point to `n` texts as for [`bytes`].
pub(crate) unsafe fn list(first: *const Str, n: usize) -> Result<Vec<String>, &'static str> {
    if n == 0 {
        return Ok(Vec::new());
    }
    if first.is_null() {
        return Err("a list has a length and no place");
    }
    if n > LIST_MAX {
        return Err("a list is longer than 1024");
    }
    (0..n)
        .map(|i| {
            // SAFETY: the caller promises n texts.
            let found = unsafe { text(first.add(i).read_unaligned()) };
            let found = found.map_err(|_| "a list has something that is no text")?;
            found.map(str::to_owned).ok_or("a list has an absent text")
        })
        .collect()
}

/// Copies a C string; `Ok(None)`: there is none.
///
/// # Safety
/// `there` must be null or point to bytes that end with a zero.
pub(crate) unsafe fn c_text(there: *const c_char) -> Result<Option<String>, &'static str> {
    if there.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(there) };
    if text.count_bytes() > ENTRY_TEXT_MAX {
        return Err("a text is longer than 1 MiB");
    }
    let text = text.to_str().map_err(|_| "a text isn't UTF-8")?;
    Ok(Some(text.to_owned()))
}

/// Lends an optional text.
pub(crate) fn lend(text: Option<&str>) -> Str {
    lend_bytes(text.map(str::as_bytes))
}

/// Lends optional bytes.
pub(crate) fn lend_bytes(bytes: Option<&[u8]>) -> Str {
    bytes.map_or(Str::ABSENT, Str::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_is_believed() {
        let huge = Str {
            ptr: std::ptr::dangling(),
            len: usize::MAX,
        };
        let nowhere = Str {
            ptr: std::ptr::null(),
            len: 1,
        };
        // SAFETY: too long or null, so nothing is read.
        unsafe {
            assert_eq!(bytes(huge, DATA_MAX), Err(JF_ETOOBIG));
            assert_eq!(bytes(nowhere, DATA_MAX), Err(JF_EINVAL));
            assert_eq!(bytes(Str::ABSENT, 0), Ok(None));
            assert!(list(std::ptr::dangling(), LIST_MAX + 1).is_err());
            assert!(list(std::ptr::null(), 1).is_err());
        }
    }

    #[test]
    fn texts_are_utf_8_without_zeros() {
        // SAFETY: literals.
        unsafe {
            assert_eq!(text(Str::of(b"a\xffb")), Err(JF_EINVAL));
            assert_eq!(text(Str::of(b"a\0b")), Err(JF_EINVAL));
            assert_eq!(text(Str::of("é".as_bytes())), Ok(Some("é")));
            assert_eq!(lossy(Str::of(b"a\xff")), "a\u{fffd}");
        }
    }

    unsafe extern "C" fn nothing(_: *mut std::ffi::c_void, _: u64, _: *mut std::ffi::c_void) -> i32 {
        0
    }

    /// Whatever size the other side says, the fields that it covers are read and nothing else.
    #[test]
    fn a_struct_is_read_as_far_as_it_says() {
        let mut there = [abi::Bridge {
            size: 0,
            rsv: 7,
            egress: None,
            ingress: Some(nothing),
        }; 2];
        for size in 0..=2 * size_of::<abi::Bridge>() {
            there[0].size = u32::try_from(size).unwrap();
            // SAFETY: two of them, so even the largest size can be read.
            let read = unsafe { copy(there.as_ptr(), 8) };
            assert_eq!(read.map(|bridge| bridge.rsv), (size >= 8).then_some(7), "{size}");
            let ingress = read.and_then(|bridge| bridge.ingress);
            assert_eq!(ingress.is_some(), size >= size_of::<abi::Bridge>(), "{size}");
        }
    }
}
