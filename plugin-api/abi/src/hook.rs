//! What hooks are given and what they answer.

use core::ffi::c_void;

use crate::shape::{Client, Handle, Str, Token, shape};

shape! {
    /// What comes with each call.
    Ctx = "jf_ctx" {
        size: u32,
        attempt: u32,
        client: *const Client,
        client_id: Handle,
        deadline_ns: u64,
        token: Token,
    }
}

shape! {
    /// A verdict; what is attached to it goes through `sink`.
    Out = "jf_out" {
        size: u32,
        verdict: u32,
        reason: u8,
        rsv: [u8; 3],
        delay_ms: u32,
        sink: *mut c_void,
    }
}

shape! {
    /// A Network Connection that was accepted.
    AcceptIn = "jf_accept_in" {
        size: u32,
        port: u32,
        listener: Str,
        peer_ip: Str,
        sni: Str,
        alpn: Str,
        tls_version: Str,
    }
}

shape! {
    /// A CONNECT, before and at authentication.
    AuthIn = "jf_auth_in" {
        size: u32,
        proto: u32,
        client_id: Str,
        username: Str,
        password: Str,
        cert_der: Str,
        cert_cn: Str,
        clean_start: u32,
        session_expiry: u32,
    }
}

shape! {
    /// A step of an enhanced authentication.
    ExchangeIn = "jf_exchange_in" {
        size: u32,
        phase: u32,
        exchange: u64,
        method: Str,
        data: Str,
    }
}

shape! {
    /// An action and the topics it is about.
    AclIn = "jf_acl_in" {
        size: u32,
        action: u32,
        topics: *const Str,
        qos: *const u8,
        n: usize,
        retain: u32,
        rsv: u32,
    }
}

shape! {
    /// A filter of a SUBSCRIBE or UNSUBSCRIBE.
    SubIn = "jf_sub_in" {
        size: u32,
        options: u32,
        filter: Str,
        share: Str,
        sub_id: u32,
        rsv: u32,
    }
}

shape! {
    /// An Application Message.
    PubIn = "jf_pub_in" {
        size: u32,
        qos: u8,
        retain: u8,
        dup: u8,
        source: u8,
        topic: Str,
        payload: Str,
        content_type: Str,
        props: *const c_void,
    }
}

shape! {
    /// An Application Message on its way to a class of subscribers.
    DeliverIn = "jf_deliver_in" {
        size: u32,
        subscriber_class: u32,
        pub_: PubIn,
    }
}

shape! {
    /// Something that happened.
    EventIn = "jf_event_in" {
        size: u32,
        kind: u32,
        at_ms: u64,
        client_id: Handle,
        client_name: Str,
        topic: Str,
        reason: u8,
        by_server: u8,
        rsv: [u8; 6],
    }
}

shape! {
    /// A request under `$CONTROL/`.
    ControlIn = "jf_control_in" {
        size: u32,
        rsv: u32,
        topic: Str,
        payload: Str,
    }
}
