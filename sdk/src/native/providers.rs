//! Stores and bridges: the tables of the extensions, over the author's traits.

use std::ffi::c_void;

use plugin_abi::{self as abi, PubIn, Str, Token, values::*};

use super::host::call;
use super::instance::{Held, Instance, Offer};
use super::later::answer;
use super::message::{Sink, owned};
use super::read_bytes;
use crate::{Durability, Fault, OwnedMessage, Plugin, Record, StoreFault, StoreOp};

const fn number(durability: Durability) -> u32 {
    match durability {
        Durability::Memory => JF_D_MEMORY,
        Durability::Async => JF_D_ASYNC,
        Durability::Fsync => JF_D_FSYNC,
        Durability::Replicated => JF_D_REPLICATED,
    }
}

/// Reads how safe a commit must be; what a newer broker may want is at least the strongest known.
const fn durability(number: u32) -> Durability {
    match number {
        JF_D_MEMORY => Durability::Memory,
        JF_D_ASYNC => Durability::Async,
        JF_D_FSYNC => Durability::Fsync,
        _ => Durability::Replicated,
    }
}

fn status<P>(instance: &Instance<P>, fault: &StoreFault) -> i32 {
    let (status, text) = match fault {
        StoreFault::Conflict => (JF_ECONFLICT, None),
        StoreFault::TooLarge => (JF_ETOOBIG, None),
        StoreFault::Unavailable(text) => (JF_EUNAVAIL, Some(text)),
        StoreFault::ReadOnly(text) => (JF_EREADONLY, Some(text)),
        StoreFault::Corrupt(text) => (JF_ECORRUPT, Some(text)),
    };
    if let Some(text) = text {
        instance.host.fault(text);
    }
    status
}

/// Copies an operation; `None`: one of a newer broker.
///
/// # Safety
/// The broker must lend what it points to.
unsafe fn operation(there: *const abi::StoreOp) -> Option<StoreOp> {
    // SAFETY: the caller's promise.
    let there = unsafe { &*there };
    let copy = |text: Str| read_bytes(text).map(<[u8]>::to_vec);
    let key = copy(there.key).unwrap_or_default();
    Some(match there.kind {
        0 => StoreOp::Put {
            key,
            value: copy(there.value).unwrap_or_default(),
        },
        1 => StoreOp::Delete { key },
        2 => StoreOp::Expect {
            key,
            value: copy(there.value),
        },
        _ => return None,
    })
}

unsafe extern "C" fn commit<P: Plugin + crate::SessionStore>(
    this: *mut c_void,
    token: Token,
    operations: *const *const abi::StoreOp,
    n: usize,
    want: u32,
) -> i32 {
    // SAFETY: called by the broker with this instance; it lends n operations until this returns.
    let (instance, batch) = unsafe {
        let batch: Option<Vec<StoreOp>> = (0..n).map(|i| operation(*operations.add(i))).collect();
        (Held::<P>::at(this), batch)
    };
    let Some(batch) = batch else { return JF_EUNSUP };
    let author = instance.clone();
    let future = async move { author.plugin.commit(&batch, durability(want)).await };
    // SAFETY: there are no verdicts.
    unsafe {
        answer(instance, token, &[], future, |instance, said, _| match said {
            Ok(()) => JF_OK,
            Err(fault) => status(instance, &fault),
        })
    }
}

unsafe extern "C" fn get<P: Plugin + crate::SessionStore>(
    this: *mut c_void,
    token: Token,
    key: Str,
    sink: *mut c_void,
) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    let (key, sink) = (read_bytes(key).unwrap_or_default().to_vec(), Sink(sink));
    let author = instance.clone();
    let future = async move { author.plugin.get(&key).await };
    let say = move |instance: &Instance<P>, said, _: &mut [abi::Out]| {
        let sink = sink;
        match said {
            Ok(Some(value)) => {
                let value: Vec<u8> = value;
                call!(instance.host, out_data(sink.0, Str::of(&value)) or JF_EUNSUP)
            }
            Ok(None) => JF_ENOENT,
            Err(fault) => status(instance, &fault),
        }
    };
    // SAFETY: there are no verdicts.
    unsafe { answer(instance, token, &[], future, say) }
}

unsafe extern "C" fn scan<P: Plugin + crate::SessionStore>(
    this: *mut c_void,
    token: Token,
    prefix: Str,
    after: Str,
    max: u32,
    sink: *mut c_void,
) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    let prefix = read_bytes(prefix).unwrap_or_default().to_vec();
    let (after, sink) = (read_bytes(after).map(<[u8]>::to_vec), Sink(sink));
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let author = instance.clone();
    let future = async move { author.plugin.scan(&prefix, after.as_deref(), max).await };
    let say = move |instance: &Instance<P>, said: Result<Vec<Record>, StoreFault>, _: &mut [abi::Out]| {
        let sink = sink;
        match said {
            Ok(rows) => {
                let put = |(key, value): &Record| call!(instance.host, out_attr(sink.0, Str::of(key), Str::of(value)) or JF_EUNSUP);
                rows.iter()
                    .map(put)
                    .find(|status| *status != JF_OK)
                    .unwrap_or(JF_OK)
            }
            Err(fault) => status(instance, &fault),
        }
    };
    // SAFETY: there are no verdicts.
    unsafe { answer(instance, token, &[], future, say) }
}

unsafe extern "C" fn egress<P: Plugin + crate::Bridge>(
    this: *mut c_void,
    token: Token,
    batch: *const *const PubIn,
    n: usize,
    sink: *mut c_void,
) -> i32 {
    // SAFETY: called by the broker with this instance; it lends n messages until this returns.
    let (instance, batch) = unsafe {
        let instance = Held::<P>::at(this);
        let batch: Vec<OwnedMessage> = (0..n).map(|i| owned(instance.host, &**batch.add(i))).collect();
        (instance, batch)
    };
    let sink = Sink(sink);
    let author = instance.clone();
    let future = async move { author.plugin.egress(&batch).await };
    let say = move |instance: &Instance<P>, said: Result<usize, Fault>, _: &mut [abi::Out]| {
        let sink = sink;
        match said {
            Ok(taken) => call!(instance.host, out_num(sink.0, JF_O_TAKEN, taken as u64) or JF_EUNSUP),
            Err(fault) => instance.failed(&fault),
        }
    };
    // SAFETY: there are no verdicts.
    unsafe { answer(instance, token, &[], future, say) }
}

unsafe extern "C" fn ingress<P: Plugin + crate::Bridge>(
    this: *mut c_void,
    token: Token,
    sink: *mut c_void,
) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    let sink = Sink(sink);
    let author = instance.clone();
    let future = async move { author.plugin.ingress().await };
    let say = move |instance: &Instance<P>, said: Result<Vec<OwnedMessage>, Fault>, _: &mut [abi::Out]| {
        let sink = sink;
        let sent = said.and_then(|messages| {
            messages.iter().try_for_each(|message| {
                let made = call!(instance.host, out_emit(sink.0) or std::ptr::null_mut());
                Ok(instance.host.fill(made, &message.lend())?)
            })
        });
        match sent {
            Ok(()) => JF_OK,
            Err(fault) => instance.failed(&fault),
        }
    };
    // SAFETY: there are no verdicts.
    unsafe { answer(instance, token, &[], future, say) }
}

impl<P: Plugin> Offer<P> {
    /// Offers [`crate::SessionStore`].
    pub fn session_store(&mut self)
    where
        P: crate::SessionStore,
    {
        self.store = Some(|plugin| {
            let caps = plugin.caps();
            abi::SessionStore {
                size: size_of::<abi::SessionStore>() as u32,
                durability: number(caps.strongest),
                max_batch: caps.batch_bytes_max,
                max_value: caps.value_bytes_max,
                shared: caps.shared.into(),
                rsv: 0,
                commit: Some(commit::<P>),
                get: Some(get::<P>),
                scan: Some(scan::<P>),
            }
        });
    }

    /// Offers [`crate::Bridge`].
    pub fn bridge(&mut self)
    where
        P: crate::Bridge,
    {
        self.bridge = Some(abi::Bridge {
            size: size_of::<abi::Bridge>() as u32,
            rsv: 0,
            egress: Some(egress::<P>),
            ingress: Some(ingress::<P>),
        });
    }
}
