//! Where a plugin attaches what doesn't fit into a verdict: texts, numbers, attributes, edits, further messages.
//!
//! A sink stays where it is for as long as the process runs or its frame is in use, so that a plugin that writes too
//! late writes into a sink that says so, never into freed memory.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use broker_types::Message;
use plugin_abi::values::*;
use plugin_api::Fault;

use crate::message::Draft;

/// Nothing may be attached now.
pub(crate) const CLOSED: u8 = 0;
/// Texts, numbers, data and attributes may be attached.
pub(crate) const OPEN: u8 = 1;
/// The message at hand may be edited, too.
pub(crate) const EDIT: u8 = 2;
/// Further messages may be added, too.
pub(crate) const EMIT: u8 = 4;

/// Bytes that one call may attach.
const BYTES_MAX: usize = 512 << 20;
/// Attributes that one call may attach; also rows of a scan.
const ATTRIBUTES_MAX: usize = 65_536;
/// Messages that one call may add.
const EMITTED_MAX: usize = 1024;
const MAGIC: u64 = 0x6b6e_6973_2d66_6a21;
const TEXTS: usize = 5;
const NUMBERS: usize = 8;
const FIRST_NUMBER: u32 = JF_O_KEEPALIVE_CAP;

/// What stands behind a `sink` pointer.
#[derive(Debug)]
pub(crate) struct Sink {
    magic: u64,
    rights: AtomicU8,
    /// Whether there is anything to take or to clear.
    touched: AtomicBool,
    edit: Draft,
    attached: Mutex<Attached>,
}

/// What a plugin attached.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// A text for a person.
    pub(crate) text: Option<String>,
    /// Bytes.
    pub(crate) data: Option<Vec<u8>>,
    /// Pairs, in order.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    texts: [Option<String>; TEXTS],
    numbers: [Option<u64>; NUMBERS],
    #[allow(clippy::vec_box, reason = "plugins have pointers to them")]
    emitted: Vec<Box<Draft>>,
    bytes: usize,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            magic: MAGIC,
            rights: AtomicU8::new(CLOSED),
            touched: AtomicBool::new(false),
            edit: Draft::default(),
            attached: Mutex::default(),
        }
    }
}

impl Sink {
    /// Returns the sink behind a pointer that a plugin gave back.
    ///
    /// # Safety
    /// `there` must be null or a pointer that a plugin was given as a sink.
    pub(crate) unsafe fn at<'a>(there: *mut std::ffi::c_void) -> Option<&'a Self> {
        // SAFETY: the caller's promise; sinks outlive the calls they are given to.
        let sink = unsafe { there.cast::<Self>().as_ref() }?;
        (sink.magic == MAGIC).then_some(sink)
    }

    /// Returns the pointer that the plugin gets.
    pub(crate) fn pointer(&self) -> *mut std::ffi::c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Opens it for a call.
    pub(crate) fn open(&self, rights: u8) {
        self.rights.store(rights, Ordering::Release);
    }

    /// Closes it and forgets what was attached.
    pub(crate) fn close(&self) {
        self.rights.store(CLOSED, Ordering::Release);
        if self.touched.swap(false, Ordering::AcqRel) {
            *self.lock() = Attached::default();
            // What an edit can't become is nobody's affair any more.
            let _ = self.edit.take_patch(&broker_types::Properties::EMPTY);
        }
    }

    /// Tells whether anything was attached.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Acquire)
    }

    /// Returns the edit of the message at hand.
    pub(crate) fn edit(&self) -> &Draft {
        &self.edit
    }

    /// Takes out what was attached.
    pub(crate) fn take(&self) -> Attached {
        if self.is_touched() {
            std::mem::take(&mut self.lock())
        } else {
            Attached::default()
        }
    }

    /// Takes out the text alone.
    pub(crate) fn take_text(&self) -> Option<String> {
        self.is_touched().then(|| self.lock().text.take()).flatten()
    }

    pub(crate) fn set_text(&self, text: &str) -> i32 {
        self.attach(text.len(), |attached| attached.text = Some(text.to_owned()))
    }

    pub(crate) fn set_data(&self, data: &[u8]) -> i32 {
        self.attach(data.len(), |attached| attached.data = Some(data.to_vec()))
    }

    pub(crate) fn add_attribute(&self, key: &[u8], value: &[u8]) -> i32 {
        if self.lock().attributes.len() >= ATTRIBUTES_MAX {
            return JF_EQUOTA;
        }
        self.attach(key.len() + value.len(), |attached| {
            attached.attributes.push((key.to_vec(), value.to_vec()));
        })
    }

    pub(crate) fn set_field(&self, field: u32, text: &str) -> i32 {
        let Some(place) = text_place(field) else {
            return JF_EINVAL;
        };
        self.attach(text.len(), |attached| {
            attached.texts[place] = Some(text.to_owned())
        })
    }

    pub(crate) fn set_number(&self, field: u32, number: u64) -> i32 {
        let Some(place) = number_place(field) else {
            return JF_EINVAL;
        };
        self.attach(0, |attached| attached.numbers[place] = Some(number))
    }

    /// Begins an edit; null where there is nothing to edit.
    pub(crate) fn begin_edit(&self) -> *const Draft {
        if self.rights.load(Ordering::Acquire) & EDIT == 0 {
            return std::ptr::null();
        }
        self.touched.store(true, Ordering::Release);
        &raw const self.edit
    }

    /// Adds a message; null where none may be added.
    pub(crate) fn emit(&self) -> *const Draft {
        let mut pointer = std::ptr::null();
        if self.rights.load(Ordering::Acquire) & EMIT != 0 && self.lock().emitted.len() < EMITTED_MAX {
            self.attach(0, |attached| {
                let draft = Box::new(Draft::default());
                pointer = &raw const *draft;
                attached.emitted.push(draft);
            });
        }
        pointer
    }

    fn attach(&self, bytes: usize, how: impl FnOnce(&mut Attached)) -> i32 {
        if self.rights.load(Ordering::Acquire) == CLOSED {
            return JF_ESTALE;
        }
        let mut attached = self.lock();
        if bytes > BYTES_MAX - attached.bytes {
            return JF_ETOOBIG;
        }
        attached.bytes += bytes;
        self.touched.store(true, Ordering::Release);
        how(&mut attached);
        JF_OK
    }

    fn lock(&self) -> MutexGuard<'_, Attached> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attached {
    /// Takes out a text field.
    pub(crate) fn take_field(&mut self, field: u32) -> Option<String> {
        self.texts[text_place(field)?].take()
    }

    /// Returns a number.
    pub(crate) fn number(&self, field: u32) -> Option<u64> {
        self.numbers[number_place(field)?]
    }

    /// Takes out the messages that were added.
    ///
    /// # Errors
    /// One of them can't be a message.
    pub(crate) fn take_emitted(&mut self) -> Result<Vec<Message>, Fault> {
        let emitted = std::mem::take(&mut self.emitted);
        emitted.iter().map(|draft| draft.take_message()).collect()
    }
}

fn text_place(field: u32) -> Option<usize> {
    let place = usize::try_from(field.checked_sub(JF_O_CLIENT_ID)?).ok()?;
    (place < TEXTS).then_some(place)
}

fn number_place(field: u32) -> Option<usize> {
    let place = usize::try_from(field.checked_sub(FIRST_NUMBER)?).ok()?;
    (place < NUMBERS).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_sink_takes_nothing() {
        let sink = Sink::default();
        assert_eq!(sink.set_text("x"), JF_ESTALE);
        sink.open(OPEN);
        assert_eq!(sink.set_text("x"), JF_OK);
        assert!(sink.begin_edit().is_null());
        assert!(sink.emit().is_null());
        sink.close();
        assert_eq!(sink.set_number(JF_O_TAKEN, 1), JF_ESTALE);
        assert!(!sink.is_touched());
        assert_eq!(sink.take().text, None);
    }

    #[test]
    fn only_known_fields_are_taken() {
        let sink = Sink::default();
        sink.open(OPEN | EDIT | EMIT);
        for field in 0..200 {
            let text = (JF_O_CLIENT_ID..=JF_O_SERVER_REF).contains(&field);
            let number = (JF_O_KEEPALIVE_CAP..=JF_O_TAKEN).contains(&field);
            assert_eq!(sink.set_field(field, "x") == JF_OK, text, "{field}");
            assert_eq!(sink.set_number(field, 1) == JF_OK, number, "{field}");
        }
        assert!((0..EMITTED_MAX).all(|_| !sink.emit().is_null()));
        assert!(sink.emit().is_null());
        assert!(sink.take().take_emitted().is_err(), "messages without topics");
    }
}
