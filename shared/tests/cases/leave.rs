//! The messages by which an agent leaves.

use mantle_shared::protocol::{Leave, LeaveAnswer, LeaveResult};

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let request = 7;
    let refused = LeaveResult::Refused {
        reason: "the server cannot write it down just now; try again".to_owned(),
    };
    vec![
        case("", Leave { request }),
        case(
            "Left",
            LeaveAnswer {
                request,
                result: LeaveResult::Left,
            },
        ),
        case(
            "Refused",
            LeaveAnswer {
                request,
                result: refused,
            },
        ),
    ]
}
