//! What to make of silence: whether the stream stands still, or only this server's part of the way is broken.

use std::time::Duration;

/// Past this it is no election any more: they take 4 to 9 s.
pub(crate) const LONGEST_ELECTION: Duration = Duration::from_secs(15);

/// What to do when no tick comes on a connection that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The stream stands still, as far as anybody knows.
    Stay,
    /// Another server has the ticks.
    Leave,
    /// It has lasted too long for an election: this server may be cut off from the leader.
    LeaveIfThereIsAnother,
}

impl Verdict {
    /// `seen` is the last tick that came live, `newest` the last one that anybody knows of. Nobody
    /// answering says nothing of the route: the question may have gone to a replica that is frozen.
    pub(super) fn of(seen: u64, silence: Duration, newest: Option<u64>) -> Self {
        if newest.is_some_and(|newest| newest > seen) {
            Self::Leave
        } else if silence >= LONGEST_ELECTION {
            Self::LeaveIfThereIsAnother
        } else {
            Self::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(3);

    #[test]
    fn stays_while_the_stream_stands_still() {
        assert_eq!(Verdict::of(100, SHORT, Some(100)), Verdict::Stay);
        assert_eq!(Verdict::of(100, SHORT, Some(90)), Verdict::Stay, "a replica may lag");
    }

    #[test]
    fn does_not_take_a_frozen_replica_for_a_silent_route() {
        assert_eq!(Verdict::of(100, SHORT, None), Verdict::Stay);
    }

    #[test]
    fn leaves_a_server_to_which_nothing_comes_although_the_stream_goes_on() {
        assert_eq!(Verdict::of(100, SHORT, Some(101)), Verdict::Leave);
        assert_eq!(Verdict::of(100, LONGEST_ELECTION, Some(101)), Verdict::Leave);
    }

    #[test]
    fn leaves_a_server_that_may_be_cut_off_when_no_election_takes_so_long() {
        assert_eq!(Verdict::of(100, LONGEST_ELECTION, Some(100)), Verdict::LeaveIfThereIsAnother);
        assert_eq!(Verdict::of(100, LONGEST_ELECTION, None), Verdict::LeaveIfThereIsAnother);
    }
}
