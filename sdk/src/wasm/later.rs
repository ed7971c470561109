//! Async hooks where there is nobody to wake them: what the broker's services need time for holds up the guest, not the future.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// Returns what `future` says. The broker's services answer before they return, so whatever awaits them is done at once.
///
/// # Panics
/// The future waits for something else, which nothing here could wake it for.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(said) => said,
        Poll::Pending => panic!("a hook waits for what is no service of the broker"),
    }
}

/// Gives an async hook its first form.
#[doc(hidden)]
#[macro_export]
macro_rules! answer_at_once {
    (@define $trait:ident $later:ident $hook:ident $plugin:ty; ($($arg:ident: $type:ty),*) -> $said:ty) => {
        impl $crate::$trait for $plugin {
            fn $hook(&self, $($arg: $type),*) -> ::core::result::Result<$said, $crate::Fault> {
                $crate::block_on($crate::$later::$hook(self, $($arg),*))
            }
        }
    };
    (connect $plugin:ty) => {
        $crate::answer_at_once!(@define Connect AsyncConnect connect $plugin;
            (cx: &$crate::Cx<'_>, request: &$crate::AuthRequest<'_>) -> $crate::ConnectFlow);
    };
    (authenticate $plugin:ty) => {
        $crate::answer_at_once!(@define Authenticate AsyncAuthenticate authenticate $plugin;
            (cx: &$crate::Cx<'_>, request: &$crate::AuthRequest<'_>) -> $crate::AuthVerdict);
    };
    (exchange $plugin:ty) => {
        $crate::answer_at_once!(@define Exchange AsyncExchange exchange $plugin;
            (cx: &$crate::Cx<'_>, request: &$crate::ExchangeRequest<'_>) -> $crate::ExchangeVerdict);
    };
    (authorize $plugin:ty) => {
        $crate::answer_at_once!(@define Authorize AsyncAuthorize authorize $plugin;
            (cx: &$crate::Cx<'_>, item: &$crate::AclItem<'_>) -> $crate::AclDecision);
    };
    (subscribe $plugin:ty) => {
        $crate::answer_at_once!(@define Subscribe AsyncSubscribe subscribe $plugin;
            (cx: &$crate::Cx<'_>, subscription: &$crate::Subscription<'_>) -> $crate::SubscribeFlow);
    };
    (unsubscribe $plugin:ty) => {
        $crate::answer_at_once!(@define Unsubscribe AsyncUnsubscribe unsubscribe $plugin;
            (cx: &$crate::Cx<'_>, subscription: &$crate::Subscription<'_>)
            -> ::core::option::Option<$crate::alloc::string::String>);
    };
    (publish $plugin:ty) => {
        $crate::answer_at_once!(@define Publish AsyncPublish publish $plugin;
            (cx: &$crate::Cx<'_>, message: &mut $crate::Message<'_>) -> $crate::Flow);
    };
    (deliver $plugin:ty) => {
        $crate::answer_at_once!(@define Deliver AsyncDeliver deliver $plugin;
            (class: u32, message: &mut $crate::Message<'_>) -> $crate::DeliverFlow);
    };
    (will $plugin:ty) => {
        $crate::answer_at_once!(@define Will AsyncWill will $plugin;
            (cx: &$crate::Cx<'_>, message: &mut $crate::Message<'_>) -> $crate::DeliverFlow);
    };
    (control $plugin:ty) => {
        $crate::answer_at_once!(@define Control AsyncControl control $plugin;
            (cx: &$crate::Cx<'_>, topic: &str, payload: &[u8])
            -> ::core::result::Result<$crate::alloc::vec::Vec<u8>, $crate::ReasonCode>);
    };
}
