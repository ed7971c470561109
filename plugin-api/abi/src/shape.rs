//! How a shape is written down: once, giving the struct and the table of its fields that tests compare with the header.

/// A field: its name in C, its offset and its size.
pub type Field = (&'static str, usize, usize);

/// A struct that crosses the border.
pub trait Shape {
    /// Its name in C.
    const NAME: &'static str;
    /// Its fields, in order.
    const FIELDS: &'static [Field];
}

macro_rules! shape {
    ($(#[$meta:meta])* $rust:ident = $c:literal { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        pub struct $rust { $(pub $field: $type,)* }

        impl $crate::shape::Shape for $rust {
            const NAME: &'static str = $c;
            const FIELDS: &'static [$crate::shape::Field] = &[$((
                // A name that is a word of Rust is written with an underscore behind it.
                $crate::shape::c_name(stringify!($field)),
                ::core::mem::offset_of!($rust, $field),
                size_of::<$type>(),
            ),)*];
        }
    };
}
pub(crate) use shape;

/// Returns the name that a field has in C.
pub(crate) const fn c_name(rust: &'static str) -> &'static str {
    match rust.as_bytes() {
        [.., b'_'] => rust.split_at(rust.len() - 1).0,
        _ => rust,
    }
}

shape! {
    /// Bytes with a length; `ptr` NULL: absent.
    Str = "jf_str" {
        ptr: *const u8,
        len: usize,
    }
}

impl Str {
    /// Nothing at all, which is not the empty text.
    pub const ABSENT: Self = Self {
        ptr: core::ptr::null(),
        len: 0,
    };

    /// Lends `bytes`.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }
}

/// A client, opaque to plugins.
#[derive(Debug)]
#[repr(C)]
pub struct Client {
    opaque: [u8; 0],
}

/// Names a pending call.
pub type Token = u64;
/// Names a client, timer or subscription; 0: none.
pub type Handle = u64;
