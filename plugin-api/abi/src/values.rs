//! The constants of the header, with the names they have there.

macro_rules! values {
    ($type:ty: $($name:ident = $value:expr,)*) => { $(pub const $name: $type = $value;)* };
}

values! { i32:
    JF_OK = 0,
    JF_PENDING = 1,
    JF_FAULT = -1,
    JF_EINVAL = -2,
    JF_EDENIED = -3,
    JF_EQUOTA = -4,
    JF_ENOENT = -5,
    JF_ECONFLICT = -6,
    JF_ETOOBIG = -7,
    JF_EUNSUP = -8,
    JF_ESTALE = -9,
    JF_EUNAVAIL = -10,
    JF_EREADONLY = -11,
    JF_ECORRUPT = -12,
}

values! { u32:
    JF_HOOK_ACCEPT = 0,
    JF_HOOK_CONNECT = 1,
    JF_HOOK_AUTHENTICATE = 2,
    JF_HOOK_AUTH_EXCHANGE = 3,
    JF_HOOK_AUTHORIZE = 4,
    JF_HOOK_SUBSCRIBE = 5,
    JF_HOOK_UNSUBSCRIBE = 6,
    JF_HOOK_PUBLISH = 7,
    JF_HOOK_RETAIN = 8,
    JF_HOOK_DELIVER = 9,
    JF_HOOK_WILL = 10,
    JF_HOOK_EVENT = 11,
    JF_HOOK_CONTROL = 12,
    JF_HOOK_SHARE_PICK = 13,

    JF_E_CONNECTED = 0,
    JF_E_DISCONNECTED = 1,
    JF_E_SESSION_CREATED = 2,
    JF_E_SESSION_RESUMED = 3,
    JF_E_SESSION_TAKEN_OVER = 4,
    JF_E_SESSION_EXPIRED = 5,
    JF_E_SUBSCRIBED = 6,
    JF_E_UNSUBSCRIBED = 7,
    JF_E_PUBLISHED = 8,
    JF_E_DELIVERED = 9,
    JF_E_ACKED = 10,
    JF_E_DROPPED = 11,
    JF_E_WILL_FIRED = 12,
    JF_E_RETAINED_SET = 13,
    JF_E_RETAINED_CLEARED = 14,
    JF_E_AUTH_FAILED = 15,

    JF_C_CLIENT_ID = 1,
    JF_C_USERNAME = 2,
    JF_C_LISTENER = 3,
    JF_C_PEER = 4,
    JF_C_PROTOCOL = 5,
    JF_C_MOUNT = 6,
    JF_C_CERT_DER = 7,

    JF_NEED_PAYLOAD = 1,
    JF_NEED_PROPS = 2,
    JF_NEED_ATTRS = 4,
    JF_NEED_CERT = 8,

    JF_F_SERIAL = 1,
    JF_F_BLOCKING = 2,
    JF_F_RELOAD = 4,
    JF_F_RECEIVE = 8,

    JF_V_SKIP = 0,
    JF_V_ALLOW = 1,
    JF_V_DENY = 2,
    JF_V_CHALLENGE = 3,
    JF_V_CONTINUE = 0x10,
    JF_V_STOP = 0x11,
    JF_V_DROP = 0x12,
    JF_V_REJECT = 0x13,
    JF_V_DISCONNECT = 0x14,

    JF_O_CLIENT_ID = 1,
    JF_O_USERNAME = 2,
    JF_O_MOUNT = 3,
    JF_O_FILTER = 4,
    JF_O_SERVER_REF = 5,
    JF_O_KEEPALIVE_CAP = 64,
    JF_O_SESSION_CAP = 65,
    JF_O_SUB_CLASS = 66,
    JF_O_MAX_QOS = 67,
    JF_O_CACHE_MS = 68,
    JF_O_EXPIRES_S = 69,
    JF_O_RETAIN_S = 70,
    JF_O_TAKEN = 71,

    JF_D_MEMORY = 0,
    JF_D_ASYNC = 1,
    JF_D_FSYNC = 2,
    JF_D_REPLICATED = 3,
}

/// `JF_BIT`: the bit of a hook or an event in a set of them.
#[must_use]
pub const fn bit(number: u32) -> u64 {
    1 << number
}
