//! Enhanced authentication (MQTT 5.0 section 4.12).

use async_trait::async_trait;

use crate::{Cx, Denial, Fault, Grant};

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangePhase {
    /// The CONNECT named the method.
    Start,
    /// The client answered a challenge.
    Continue,
    /// A connected client begins again (AUTH 0x19).
    ReAuthenticate,
    /// The client went, or took too long: forget it. The verdict is not looked at.
    Abandoned,
}

/// One step of an exchange.
#[derive(Clone, Copy)]
pub struct ExchangeRequest<'a> {
    /// Where the exchange stands.
    pub phase: ExchangePhase,
    /// Names this exchange; keep state under it. It always ends with success, deny or `Abandoned`.
    pub exchange: u64,
    /// The Authentication Method.
    pub method: &'a str,
    /// The Authentication Data.
    pub data: Option<&'a [u8]>,
}

impl std::fmt::Debug for ExchangeRequest<'_> {
    /// Leaves the data out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("phase", &self.phase)
            .field("exchange", &self.exchange)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeVerdict {
    /// Send this in an AUTH and wait for the answer.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Success {
        /// What it is granted.
        grant: Box<Grant>,
        /// Authentication Data for the CONNACK or the last AUTH.
        data: Option<Vec<u8>>,
    },
    /// It is not.
    Deny(Denial),
}

/// Runs challenge and response for the Authentication Methods it declares.
///
/// **When:** for a CONNECT with an Authentication Method, for each AUTH that follows, and when a connected client
/// re-authenticates. Two owners of one method on one listener are a configuration error.
///
/// **May change:** through [`Grant`], as [`crate::Authenticate`]. A re-authentication can't change Client Identifier or mount.
///
/// **Verdicts on the wire:** `Challenge` is an AUTH 0x18; `Success` a CONNACK or AUTH 0x00; `Deny` a CONNACK, or for a
/// re-authentication a DISCONNECT. A method that nobody owns is 0x8C. MQTT 3.1 and 3.1.1 have no enhanced authentication.
///
/// **On error, timeout or panic:** `deny`: 0x88; `drop` and `disconnect` close. There is nobody else to ask, so `skip` and `allow`
/// deny too. At most 16 rounds and 10 s in all.
///
/// **Cost:** one allocation for each call; only this client waits.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Takes one step.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault>;
}
