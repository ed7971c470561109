//! Output that must not leave yet: what it says relies on records that are not durable. A QoS 2 PUBLISH waits for its
//! Packet Identifier, PUBREL for the PUBREC that it answers, and CONNACK for its Session; whatever is sent to the same
//! client meanwhile waits behind them, because Topic Aliases rely on the order.
//!
//! There are at most two stages. The first takes nothing more, or it would never become durable under steady traffic;
//! the second takes everything until the first has left.

use std::collections::VecDeque;

use broker_proto::{Seldom, WriteBuf};

use super::journal::Group;

/// The output of one connection that waits for the store.
#[derive(Debug, Default)]
pub(crate) struct Staging(Seldom<VecDeque<Stage>>);

#[derive(Debug)]
struct Stage {
    out: WriteBuf,
    /// It may leave when this is durable.
    until: Option<Group>,
}

impl Staging {
    /// Tells whether nothing waits, so that other output may go its usual way.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|stage| stage.out.len()).sum()
    }

    /// Returns how many bytes wait that nobody else holds. Asked after each delivery, so an empty one costs one look.
    #[inline]
    pub(crate) fn own_len(&self) -> usize {
        match self.0.is_empty() {
            true => 0,
            false => self.0.iter().map(|stage| stage.out.own_len()).sum(),
        }
    }

    /// Returns the buffer for what is to be sent now. [`Self::close`] follows.
    pub(crate) fn open(&mut self) -> &mut WriteBuf {
        let stages = self.0.make();
        if stages.len() < 2 {
            stages.push_back(Stage {
                out: WriteBuf::new(),
                until: None,
            });
        }
        &mut stages.back_mut().expect("there is one now").out
    }

    /// Notes what the output relies on that was added since [`Self::open`]. If it has to wait for nothing and nobody is
    /// before it, it goes to `out`. Returns the group to wait for if that is new.
    pub(crate) fn close(&mut self, until: Option<Group>, out: &mut WriteBuf) -> Option<Group> {
        let alone = self.0.len() == 1;
        let stages = self.0.made()?;
        let last = stages.back_mut()?;
        let new = until.filter(|group| last.until.is_none_or(|before| *group > before));
        last.until = last.until.max(until);
        if last.until.is_none() && (alone || last.out.is_empty()) {
            let last = stages.pop_back()?;
            out.append(last.out);
        }
        new
    }

    /// Moves to `out` what may leave now that everything up to `durable` is.
    pub(crate) fn release(&mut self, durable: Option<Group>, out: &mut WriteBuf) {
        let Some(stages) = self.0.made() else { return };
        while let Some(stage) = stages.pop_front_if(|stage| stage.until <= durable) {
            out.append(stage.out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;

    fn bytes(out: &WriteBuf) -> usize {
        out.len()
    }

    #[test]
    fn order_stays_and_the_first_stage_takes_nothing_more() {
        let journal = Journal::new(plugin_api::Durability::Fsync, usize::MAX);
        let (first, out) = (journal.open(), &mut WriteBuf::new());
        let mut staging = Staging::default();
        staging.open().push_frame(b"a");
        assert_eq!(staging.close(None, out), None);
        assert_eq!((bytes(out), staging.is_empty()), (1, true));
        staging.open().push_frame(b"b");
        assert_eq!(staging.close(Some(first), out), Some(first));
        // The same group again, and nothing: both wait behind the first stage.
        staging.open().push_frame(b"c");
        assert_eq!(staging.close(None, out), None);
        staging.open().push_frame(b"d");
        assert_eq!(staging.close(Some(first), out), Some(first));
        staging.open();
        assert_eq!(staging.close(None, out), None);
        assert_eq!((bytes(out), staging.len()), (1, 3));
        staging.release(None, out);
        assert_eq!(bytes(out), 1);
        staging.release(Some(first), out);
        assert_eq!((bytes(out), staging.is_empty()), (4, true));
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let used = out.io_slices(&mut slices);
        assert_eq!(
            slices[..used]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect::<Vec<_>>(),
            b"abcd"
        );
    }
}
