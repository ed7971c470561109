//! The extension "bridge/1": carrying messages to another system and back.

use std::sync::Arc;

use broker_types::Source;
use plugin_abi::{self as abi, PubIn, values::*};
use plugin_api::{Bridge, Fault, NewMessage, async_trait};

use super::NONE;
use super::message::Lent;
use crate::ask::{Form, Question, Shown};
use crate::instance::Instance;
use crate::message::protocol;
use crate::side::Table;
use crate::sink::{EMIT, OPEN};

/// What the plugin's table says, copied.
#[derive(Clone, Copy, Debug)]
struct Functions(abi::Bridge);

// SAFETY: functions that the header lets be called from any thread.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

/// A bridge behind the border.
#[derive(Debug)]
pub(crate) struct NativeBridge {
    instance: Arc<Instance>,
    functions: Functions,
}

impl NativeBridge {
    /// Wraps a table that was copied from the plugin.
    ///
    /// # Errors
    /// What it lacks.
    pub(crate) fn new(instance: &Arc<Instance>, table: abi::Bridge) -> Result<Self, String> {
        if table.egress.is_none() || table.ingress.is_none() {
            return Err("its bridge lacks a function".to_owned());
        }
        Ok(Self {
            instance: instance.clone(),
            functions: Functions(table),
        })
    }
}

/// Messages for the other side, or `None`: what has the other side?
struct Carry {
    functions: Functions,
    batch: Option<Vec<NewMessage>>,
    with_properties: bool,
}

impl Question for Carry {
    fn form(&self) -> Form {
        Form {
            may_wait: true,
            rights: if self.batch.is_some() { OPEN } else { OPEN | EMIT },
            ..NONE
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let this = table.0.self_;
        match (&self.batch, self.functions.0.egress, self.functions.0.ingress) {
            (Some(batch), Some(egress), _) => {
                let lend = |message| Lent::of(message, Source::Client, self.with_properties);
                let lent: Vec<Lent<'_>> = batch.iter().map(lend).collect();
                let properties: Vec<_> = lent.iter().map(Lent::lent_properties).collect();
                let shapes = lent.iter().zip(&properties);
                let shapes: Vec<PubIn> = shapes
                    .map(|(lent, properties)| lent.shape(properties.as_ref()))
                    .collect();
                let pointers: Vec<*const PubIn> = shapes.iter().map(std::ptr::from_ref).collect();
                // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
                unsafe { egress(this, shown.token, pointers.as_ptr(), pointers.len(), shown.sink) }
            }
            // SAFETY: as above; the sink lives until the call is completed.
            (None, _, Some(ingress)) => unsafe { ingress(this, shown.token, shown.sink) },
            _ => JF_EUNSUP,
        }
    }
}

#[async_trait]
impl Bridge for NativeBridge {
    async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault> {
        let question = Carry {
            functions: self.functions,
            batch: Some(batch.to_vec()),
            with_properties: self.instance.interest.needs.properties,
        };
        let reply = self.instance.answer(None, question).await?;
        match reply.take(0).number(JF_O_TAKEN) {
            None => Ok(batch.len()),
            Some(taken) if taken <= batch.len() as u64 => Ok(usize::try_from(taken).unwrap_or(batch.len())),
            Some(taken) => Err(protocol(format!("it took {taken} messages of {}", batch.len()))),
        }
    }

    async fn ingress(&self) -> Result<Vec<NewMessage>, Fault> {
        let question = Carry {
            functions: self.functions,
            batch: None,
            with_properties: false,
        };
        let reply = self.instance.answer(None, question).await?;
        reply.take(0).take_emitted()
    }
}
