//! A collection that most of its owners never put anything in: one pointer until somebody does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;

/// A type with an empty value that needs no memory.
pub trait Empty: Default + 'static {
    /// The empty value.
    const EMPTY: &'static Self;
}

impl<T: 'static> Empty for Vec<T> {
    const EMPTY: &'static Self = &Self::new();
}

impl<T: 'static> Empty for VecDeque<T> {
    const EMPTY: &'static Self = &Self::new();
}

impl<K: 'static, V: 'static> Empty for BTreeMap<K, V> {
    const EMPTY: &'static Self = &Self::new();
}

/// A collection that is seldom needed. Read it as if it was there; it is made when it is changed for the first time, and stays.
#[derive(Clone, Debug)]
pub struct Seldom<T>(Option<Box<T>>);

impl<T> Seldom<T> {
    /// Returns an empty one that owns no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Returns the collection if it was made, to change what is in it.
    #[inline]
    pub fn made(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T: Default> Seldom<T> {
    /// Returns the collection, to put something in.
    #[inline]
    pub fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// Takes everything out; what is left behind owns no memory.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> T {
        self.0.take().map_or_else(T::default, |made| *made)
    }
}

impl<T: Empty> Deref for Seldom<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Empty + PartialEq> PartialEq for Seldom<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Empty + Eq> Eq for Seldom<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_when_something_is_put_in() {
        let mut seldom = Seldom::<Vec<u8>>::new();
        assert!(seldom.is_empty() && seldom.made().is_none());
        seldom.make().push(1);
        assert_eq!((seldom.len(), seldom.made().map(Vec::pop)), (1, Some(Some(1))));
        assert_eq!(seldom, Seldom::new());
        assert!(seldom.take().is_empty() && seldom.made().is_none());
        assert_eq!(size_of::<Seldom<VecDeque<u64>>>(), size_of::<usize>());
    }
}
