//! Stores and bridges.

use alloc::string::String;
use alloc::vec::Vec;

use crate::wasm::bindings::base::jackfield::plugin::types::NewMessage;
use crate::wasm::bindings::bridge::exports::jackfield::plugin::bridge;
use crate::wasm::bindings::session_store::exports::jackfield::plugin::session_store::{self as store, Op};
use crate::wasm::host::new_message;
use crate::wasm::instance::{Export, Exported, plugin};
use crate::wasm::message::{from_properties, from_qos};
use crate::{Bridge, Durability, Fault, OwnedMessage, Record, SessionStore, StoreFault, StoreOp, block_on};

fn operation(operation: Op) -> StoreOp {
    match operation {
        Op::Put((key, value)) => StoreOp::Put { key, value },
        Op::Delete(key) => StoreOp::Delete { key },
        Op::Expect((key, value)) => StoreOp::Expect { key, value },
    }
}

fn fault(fault: StoreFault) -> store::Fault {
    match fault {
        StoreFault::Conflict => store::Fault::Conflict,
        StoreFault::Unavailable(why) => store::Fault::Unavailable(why),
        StoreFault::ReadOnly(why) => store::Fault::ReadOnly(why),
        StoreFault::TooLarge => store::Fault::TooLarge,
        StoreFault::Corrupt(why) => store::Fault::Corrupt(why),
    }
}

impl<P: Exported + SessionStore> store::Guest for Export<P> {
    fn caps() -> store::Capabilities {
        let caps = plugin::<P>().caps();
        store::Capabilities {
            strongest: match caps.strongest {
                Durability::Memory => store::Durability::Memory,
                Durability::Async => store::Durability::Async,
                Durability::Fsync => store::Durability::Fsync,
                Durability::Replicated => store::Durability::Replicated,
            },
            shared: caps.shared,
            max_batch: caps.batch_bytes_max,
            max_value: caps.value_bytes_max,
        }
    }

    fn commit(batch: Vec<Op>, want: store::Durability) -> Result<(), store::Fault> {
        let batch: Vec<_> = batch.into_iter().map(operation).collect();
        let want = match want {
            store::Durability::Memory => Durability::Memory,
            store::Durability::Async => Durability::Async,
            store::Durability::Fsync => Durability::Fsync,
            store::Durability::Replicated => Durability::Replicated,
        };
        block_on(plugin::<P>().commit(&batch, want)).map_err(fault)
    }

    fn get(key: Vec<u8>) -> Result<Option<Vec<u8>>, store::Fault> {
        block_on(plugin::<P>().get(&key)).map_err(fault)
    }

    fn scan(prefix: Vec<u8>, after: Option<Vec<u8>>, max: u32) -> Result<Vec<Record>, store::Fault> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        block_on(plugin::<P>().scan(&prefix, after.as_deref(), max)).map_err(fault)
    }
}

impl<P: Exported + Bridge> bridge::Guest for Export<P> {
    fn egress(batch: Vec<NewMessage>) -> Result<u32, String> {
        let owned = |message: NewMessage| OwnedMessage {
            topic: message.topic,
            payload: message.payload,
            qos: from_qos(message.qos),
            retain: message.retain,
            properties: message.properties.map(from_properties).unwrap_or_default(),
        };
        let batch: Vec<_> = batch.into_iter().map(owned).collect();
        let taken = block_on(plugin::<P>().egress(&batch)).map_err(|Fault(why)| why)?;
        Ok(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    fn ingress() -> Result<Vec<NewMessage>, String> {
        let came = block_on(plugin::<P>().ingress()).map_err(|Fault(why)| why)?;
        Ok(came.iter().map(|message| new_message(&message.lend())).collect())
    }
}
