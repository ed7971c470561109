//! A value that only one thread can reach, because a Wasm instance has only one.

#[cfg(target_feature = "atomics")]
compile_error!("a plugin has one thread: build without the target feature `atomics`");

/// A static for the one thread there is.
#[derive(Debug)]
pub(crate) struct Single<T>(pub(crate) T);

// SAFETY: without `atomics`, checked above, memory isn't shared, so there is no second thread.
unsafe impl<T> Sync for Single<T> {}
