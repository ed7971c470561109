//! Choosing the member of a Shared Subscription.

use broker_types::{Message, Source};
use plugin_abi::Handle;
use plugin_api::{ShareMember, SharePick};

use super::Hooks;
use super::message::Lent;
use crate::border::lend;

impl SharePick for Hooks {
    fn pick(&self, share: &str, _filter: &str, members: &[ShareMember], message: &Message) -> Option<usize> {
        let table = &self.0.table.0;
        let function = table.share_pick?;
        // Members are known by their Client Identifier here; connections of theirs may be none.
        let handles: Vec<Handle> = vec![0; members.len()];
        let in_flight = members
            .iter()
            .map(|member| u32::try_from(member.inflight).unwrap_or(u32::MAX));
        let in_flight: Vec<u32> = in_flight.collect();
        let lent = Lent::of(message, Source::Client, self.0.interest.needs.properties);
        let picked = lent.show(|message| {
            // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns, and both
            // lists have as many places as it is told.
            unsafe {
                function(
                    table.self_,
                    std::ptr::from_ref(message),
                    lend(Some(share)),
                    handles.as_ptr(),
                    in_flight.as_ptr(),
                    members.len(),
                )
            }
        });
        usize::try_from(picked)
            .ok()
            .filter(|index| *index < members.len())
    }
}
