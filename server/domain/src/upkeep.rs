//! What the server keeps of its past: tasks, their logs and the audit trail, by age and by size.
//!
//! Without a rule everything stays. With one the oldest goes first, and only what nothing needs: never a
//! task that is not over, one that a dashboard or a target shows, one that holds a lock, or the last
//! one that took a release into an environment, from which promotions and going back are judged.

use crate::file::duration;
use crate::retention::Fate;

/// How much of one kind is kept. What either bound lets go, goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// For how long, in milliseconds.
    pub age_ms: Option<u64>,
    /// How much of it, in bytes as stored.
    pub size_bytes: Option<u64>,
}

impl Keep {
    /// Everything is kept.
    pub fn is_all(self) -> bool {
        self.age_ms.is_none() && self.size_bytes.is_none()
    }
}

/// What is kept of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpkeepRules {
    /// Tasks that are over, with all that is known of them, logs included.
    pub tasks: Keep,
    /// What tasks printed; the tasks themselves stay.
    pub logs: Keep,
    /// Entries of the audit trail.
    pub audit: Keep,
}

/// Why a task stays, whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// It is queued or under way.
    Open,
    /// It is the last one of its project in its environment, or the last that succeeded there.
    Dashboard,
    /// It put something on a target that is still there.
    Target,
    /// One of its steps may live and holds a lock.
    Lock,
    /// It is the last one that took its release into its environment.
    History,
}

impl Hold {
    /// The reason, as it follows the task's name.
    pub fn why(self) -> &'static str {
        match self {
            Self::Open => "is not over",
            Self::Dashboard => "is on the dashboard",
            Self::Target => "is what a target runs",
            Self::Lock => "holds a lock",
            Self::History => "is the last one that took its release there",
        }
    }
}

/// One thing to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Since when it is of the past, in microseconds since 1970; `None` for what is not.
    pub past_since_us: Option<i64>,
    /// Its size.
    pub size_bytes: u64,
    /// Why it must stay.
    pub hold: Option<Hold>,
}

/// Judges the pieces of one kind, the oldest first.
#[derive(Debug, Clone)]
pub struct Sieve {
    keep: Keep,
    before_us: Option<i64>,
    excess_bytes: u64,
}

impl Sieve {
    /// A judge for pieces that are so large together.
    pub fn new(keep: Keep, total_bytes: u64, now_us: i64) -> Self {
        let before = |age_ms: u64| {
            let age_us = i64::try_from(age_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
            now_us.saturating_sub(age_us)
        };
        Self {
            keep,
            before_us: keep.age_ms.map(before),
            excess_bytes: keep
                .size_bytes
                .map_or(0, |most| total_bytes.saturating_sub(most)),
        }
    }

    /// Whether a piece that came into being at this moment, or any after it, can go. It is the past only
    /// after it came into being.
    pub fn takes_from(&self, created_at_us: i64) -> bool {
        self.excess_bytes > 0 || self.before_us.is_some_and(|before| created_at_us < before)
    }

    /// What becomes of the next piece.
    pub fn judge(&mut self, piece: Piece) -> Fate {
        if let Some(hold) = piece.hold {
            return Fate::Stays(hold.why().to_owned());
        }
        let Some(past_since_us) = piece.past_since_us else {
            return Fate::Stays(Hold::Open.why().to_owned());
        };
        let why = match (self.keep.age_ms, self.keep.size_bytes) {
            (Some(age_ms), _) if self.before_us.is_some_and(|before| past_since_us < before) => {
                format!("older than {}", duration::format(age_ms))
            }
            (_, Some(size_bytes)) if self.excess_bytes > 0 => {
                format!("among the oldest of more than {size_bytes} bytes")
            }
            (None, None) => return Fate::Stays("everything is kept".to_owned()),
            (Some(_) | None, Some(_)) | (Some(_), None) => {
                return Fate::Stays("within what is kept".to_owned());
            }
        };
        self.excess_bytes = self.excess_bytes.saturating_sub(piece.size_bytes);
        Fate::Goes(why)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
    const NOW: i64 = 1_000 * DAY_US;

    fn piece(age_days: i64, size_bytes: u64) -> Piece {
        Piece {
            past_since_us: Some(NOW - age_days * DAY_US),
            size_bytes,
            hold: None,
        }
    }

    fn goes(keep: Keep, pieces: &[Piece]) -> Vec<bool> {
        let total = pieces.iter().map(|piece| piece.size_bytes).sum();
        let mut sieve = Sieve::new(keep, total, NOW);
        pieces.iter().map(|one| sieve.judge(*one).goes()).collect()
    }

    #[test]
    fn the_oldest_goes_first_by_age_or_by_size() {
        let pieces = [piece(40, 10), piece(30, 10), piece(20, 10), piece(10, 10)];
        let keep = |days: Option<u64>, size_bytes| Keep {
            age_ms: days.map(|days| days * DAY_MS),
            size_bytes,
        };
        let table: &[(Keep, [bool; 4])] = &[
            (keep(None, None), [false; 4]),
            (keep(Some(30), None), [true, false, false, false]),
            (keep(Some(29), None), [true, true, false, false]),
            (keep(Some(0), None), [true; 4]),
            (keep(None, Some(40)), [false; 4]),
            (keep(None, Some(39)), [true, false, false, false]),
            (keep(None, Some(15)), [true, true, true, false]),
            (keep(None, Some(0)), [true; 4]),
            // What goes by its age makes room.
            (keep(Some(25), Some(20)), [true, true, false, false]),
            (keep(Some(35), Some(20)), [true, true, false, false]),
            (keep(Some(100), Some(100)), [false; 4]),
        ];
        for (keep, due) in table {
            assert_eq!(goes(*keep, &pieces), due, "{keep:?}");
        }
    }

    #[test]
    fn what_is_needed_stays_and_says_why() {
        let keep = Keep {
            age_ms: Some(DAY_MS),
            size_bytes: Some(0),
        };
        let holds = [
            Hold::Open,
            Hold::Dashboard,
            Hold::Target,
            Hold::Lock,
            Hold::History,
        ];
        for hold in holds {
            let mut sieve = Sieve::new(keep, 10, NOW);
            let held = Piece {
                hold: Some(hold),
                ..piece(500, 10)
            };
            assert_eq!(sieve.judge(held), Fate::Stays(hold.why().to_owned()));
        }
        let mut sieve = Sieve::new(keep, 10, NOW);
        let open = Piece {
            past_since_us: None,
            ..piece(1, 10)
        };
        assert!(!sieve.judge(open).goes());
    }

    #[test]
    fn the_reason_names_the_rule() {
        let old = Keep {
            age_ms: Some(30 * DAY_MS),
            size_bytes: Some(5),
        };
        let why = |keep, piece: Piece| {
            let mut sieve = Sieve::new(keep, piece.size_bytes, NOW);
            sieve.judge(piece).why().to_owned()
        };
        assert_eq!(why(old, piece(31, 1)), "older than 30d");
        assert_eq!(
            why(old, piece(1, 9)),
            "among the oldest of more than 5 bytes"
        );
        assert_eq!(why(old, piece(1, 1)), "within what is kept");
        assert_eq!(why(Keep::default(), piece(999, 9)), "everything is kept");
    }

    proptest! {
        /// What is left fits unless held, nothing held or young goes by age alone, and no piece goes while
        /// an older one that is free stays.
        #[test]
        fn what_stays_is_the_newest_that_fits(
            pieces in proptest::collection::vec((0_i64..200, 0_u64..100, any::<bool>()), 0..40),
            days in proptest::option::of(0_u64..200),
            most in proptest::option::of(0_u64..3000),
        ) {
            let keep = Keep { age_ms: days.map(|days| days * DAY_MS), size_bytes: most };
            let mut pieces: Vec<Piece> = pieces
                .into_iter()
                .map(|(age, size, held)| Piece {
                    hold: held.then_some(Hold::Dashboard),
                    ..piece(age, size)
                })
                .collect();
            pieces.sort_by_key(|piece| piece.past_since_us);
            let gone = goes(keep, &pieces);
            let left: u64 = pieces.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(p, _)| p.size_bytes).sum();
            let held: u64 = pieces.iter().filter(|p| p.hold.is_some()).map(|p| p.size_bytes).sum();
            if let Some(most) = most {
                prop_assert!(left <= most.max(held));
            }
            let free: Vec<bool> = pieces.iter().zip(&gone).filter(|(p, _)| p.hold.is_none()).map(|(_, gone)| *gone).collect();
            prop_assert!(free.is_sorted_by_key(|gone| !*gone), "{free:?}");
            for (piece, gone) in pieces.iter().zip(&gone) {
                prop_assert!(!(*gone && piece.hold.is_some()));
                let mut sieve = Sieve::new(keep, 0, NOW);
                // A judge that would pass a piece over says so beforehand.
                if sieve.judge(*piece).goes() {
                    prop_assert!(sieve.takes_from(piece.past_since_us.unwrap()));
                }
            }
        }
    }
}
