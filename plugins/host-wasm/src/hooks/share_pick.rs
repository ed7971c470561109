//! Which member of a shared group gets a message.

use broker_types::Message;
use plugin_api::{ShareMember, SharePick};

use super::Hooks;
use super::message::Seen;
use crate::bindings::exported::share_pick;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;

struct OnPick<'a> {
    share: &'a str,
    filter: &'a str,
    members: &'a [ShareMember],
    seen: Seen<'a>,
}

impl Ask for OnPick<'_> {
    type Answer = Option<u32>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Option<u32>> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, self.seen.more());
        let members = self.members.iter().map(|member| share_pick::Member {
            client_id: member.client_id.as_str(),
            connected: member.connected,
            inflight: u32::try_from(member.inflight).unwrap_or(u32::MAX),
        });
        let members: Vec<_> = members.collect();
        let arguments = (self.share, self.filter, members.as_slice(), self.seen.message());
        let function = offered(&exports.share_pick)?.func_on_pick();
        let (index,) = caller.call(function, arguments).await?;
        Ok(index)
    }
}

impl SharePick for Hooks {
    /// A fault leaves the choice to the broker, which has no other way to be told of one here; the guest's log has it.
    fn pick(&self, share: &str, filter: &str, members: &[ShareMember], message: &Message) -> Option<usize> {
        let ask = OnPick {
            share,
            filter,
            members,
            seen: Seen::of_message(self, message),
        };
        let index = self.guest.here(&ask).ok()??;
        usize::try_from(index).ok()
    }
}
