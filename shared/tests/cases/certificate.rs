//! The messages that renew a certificate.

use mantle_shared::protocol::{CertificateDue, RenewAnswer, RenewCertificate, RenewResult};

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let not_after_us = 1_792_592_000_000_000;
    vec![
        case("", CertificateDue { not_after_us }),
        case(
            "",
            RenewCertificate {
                request: 9,
                signing_request: vec![0x30, 0x82, 0x01, 0x00],
            },
        ),
        case(
            "Issued",
            RenewAnswer {
                request: 9,
                result: RenewResult::Issued {
                    certificate: vec![0x30, 0x01],
                    not_after_us,
                },
            },
        ),
        case(
            "Refused",
            RenewAnswer {
                request: 9,
                result: RenewResult::Refused {
                    reason: "the certificate is not due yet".to_owned(),
                },
            },
        ),
    ]
}
