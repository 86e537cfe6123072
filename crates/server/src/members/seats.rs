//! Seats (wire §9.8): a workspace has a number of full seats, for admins and members, and beside them 20 basic ones for
//! lite members, who may also sit where a full seat is unused. Who is locked takes none, nor do service accounts.

use super::{MemberRow, SeatType};
use crate::error::Failure;
use stead_api::error::ErrorCode;

/// Basic seats that every workspace has beside its full ones.
pub const BASIC: i64 = 20;

/// How many people sit, or are asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Admins and members.
    pub full: i64,
    /// Lite members.
    pub basic: i64,
}

impl Taken {
    /// What these people take.
    pub fn by(members: &[MemberRow]) -> Self {
        let sitting = members.iter().filter(|member| !member.is_locked);
        sitting.fold(Self::default(), |taken, member| taken.and(1, member.seat()))
    }

    /// With so many more on such a seat. One of a kind that isn't known takes a full one.
    #[must_use]
    pub fn and(self, more: i64, seat: Option<SeatType>) -> Self {
        match seat {
            Some(SeatType::WorkspaceLiteMember) => Self { basic: self.basic + more, ..self },
            _ => Self { full: self.full + more, ..self },
        }
    }

    /// Whether these are within what a workspace has, or at least no further beyond it than before: a workspace whose
    /// seats were made fewer can still lock and downgrade.
    pub fn check(self, before: Self, seats: i64) -> Result<(), Failure> {
        let (all, all_before) = (self.full + self.basic, before.full + before.basic);
        let lacks_full = self.full > seats && self.full > before.full;
        let lacks_any = all > seats.saturating_add(BASIC) && all > all_before;
        if !lacks_full && !lacks_any {
            return Ok(());
        }
        let kind = if lacks_full || self.full > before.full { "full" } else { "basic" };
        let message = format!(
            "There is no {kind} seat free: the workspace has {seats} full seats, for admins and members, and {BASIC} basic \
             ones, for lite members."
        );
        Err(Failure::refused(ErrorCode::LimitReached, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(seats: i64, before: (i64, i64), after: (i64, i64)) -> bool {
        let taken = |(full, basic)| Taken { full, basic };
        taken(after).check(taken(before), seats).is_ok()
    }

    #[test]
    fn full_seats_end_and_basic_ones_begin_beside_them() {
        assert!(fits(2, (1, 0), (2, 0)));
        assert!(!fits(2, (2, 0), (3, 0)));
        assert!(fits(2, (2, 19), (2, 20)));
        assert!(!fits(2, (2, 20), (2, 21)));
    }

    #[test]
    fn an_unused_full_seat_holds_a_lite_member_and_is_then_used() {
        assert!(fits(2, (1, 20), (1, 21)));
        assert!(!fits(2, (1, 21), (1, 22)));
        // It is full, although only one of its two full seats is taken by a full member.
        assert!(!fits(2, (1, 21), (2, 21)));
        // Whoever sits there may move to the full seat.
        assert!(fits(2, (1, 21), (2, 20)));
    }

    #[test]
    fn a_workspace_beyond_its_seats_can_only_shrink() {
        assert!(fits(1, (3, 30), (2, 30)));
        assert!(fits(1, (3, 30), (2, 31)));
        assert!(fits(1, (3, 30), (3, 30)));
        assert!(!fits(1, (3, 30), (3, 31)));
        assert!(!fits(1, (3, 30), (4, 29)));
    }

    #[test]
    fn the_refusal_says_which_seat() {
        let said = |before: (i64, i64), after: (i64, i64)| {
            let taken = |(full, basic)| Taken { full, basic };
            let Err(Failure::Refused(refusal)) = taken(after).check(taken(before), 1) else { panic!("it fits") };
            refusal.message
        };
        assert!(said((1, 0), (2, 0)).contains("no full seat"));
        assert!(said((0, 21), (1, 21)).contains("no full seat"));
        assert!(said((1, 20), (1, 21)).contains("no basic seat"));
    }

    #[test]
    fn a_seat_of_no_known_kind_counts_as_a_full_one() {
        assert_eq!(
            Taken::default().and(1, None).and(2, Some(SeatType::WorkspaceLiteMember)),
            Taken { full: 1, basic: 2 }
        );
        assert_eq!(Taken::default().and(1, Some(SeatType::WorkspaceAdmin)).full, 1);
    }
}
