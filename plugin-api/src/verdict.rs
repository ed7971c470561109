//! What every refusal has in common.

use broker_types::ReasonCode;

/// A refusal: the Reason Code that a 5.0 client is told, and perhaps a Reason String for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The Reason Code, 0x80 or above. A code that the packet at hand can't carry becomes 0x87 or 0x80.
    pub reason: ReasonCode,
    /// The Reason String. Sent only if the client wants problem information and its packet limit allows.
    pub text: Option<String>,
}

impl Denial {
    /// Refuses with `reason`, without a text.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, text: None }
    }

    /// Refuses with 0x87, Not authorized.
    #[must_use]
    pub const fn not_authorized() -> Self {
        Self::new(ReasonCode::NotAuthorized)
    }

    /// Adds a Reason String.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}
