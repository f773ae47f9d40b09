//! Every message, by the stream that it travels on.
//!
//! The list at the end is the whole protocol: a message that is not in it cannot be sent. Numbers
//! and field orders are fixed by golden bytes. Times are microseconds since 1970 in UTC.

mod attempt;
mod bulk;
mod certificate;
mod control;
mod enrol;
mod leave;

pub use attempt::*;
pub use bulk::*;
pub use certificate::*;
pub use control::*;
pub use enrol::*;
pub use leave::*;

use super::codec::{self, CodecError};
use super::frame::{Frame, Header};

/// Largest payload on an enrolment stream: it is read before anything is known of the peer.
pub const ENROL_LIMIT_BYTES: usize = 4 * 1024;
/// Largest payload of the first message of an agent, [`Hello`].
pub const HELLO_LIMIT_BYTES: usize = 16 * 1024;
/// Largest payload on the control stream, where orders travel.
pub const CONTROL_LIMIT_BYTES: usize = codec::MAX_PAYLOAD_BYTES;
/// Largest payload on an attempt's stream.
pub const EVENTS_LIMIT_BYTES: usize = 256 * 1024;
/// Largest payload of a request or header on a bulk stream.
pub const BULK_LIMIT_BYTES: usize = 256 * 1024;
/// The longest text of one log record; a longer line is split and marked.
pub const MAX_RECORD_TEXT_BYTES: usize = 16 * 1024;
/// Stands at the end of every piece of a split line but the last, where there is no record of its own for
/// pieces: between ends of which one speaks version 1, and for people.
pub const CUT_MARK: &str = " [line cut here]";
/// How much a sender puts into one [`Records`] message before it starts the next.
pub const RECORDS_TARGET_BYTES: usize = 48 * 1024;

/// The codes with which a connection is closed, so that the other end can say why.
pub mod close {
    /// The end goes away in good order; dial again.
    pub const GOING_AWAY: u32 = 1;
    /// The peer may not work here (unknown, revoked, wrong protocol): says nothing more.
    pub const NOT_AUTHORISED: u32 = 2;
    /// A newer connection of the same agent took over.
    pub const SUPERSEDED: u32 = 3;
    /// The peer broke the protocol.
    pub const PROTOCOL: u32 = 4;
    /// The peer took too long to say who it is.
    pub const HANDSHAKE_TIMEOUT: u32 = 5;
    /// Enrolment is done; the connection has served its purpose.
    pub const ENROLMENT_DONE: u32 = 6;
    /// The peer's certificate has ended. Its key is known still: it may renew the certificate.
    pub const CERTIFICATE_ENDED: u32 = 7;
}

/// Declares the message list: numbers, the enum over all, and its codec.
macro_rules! messages {
    ($($number:literal $name:ident),+ $(,)?) => {
        /// Any message. Which ones are legal depends on the stream and who sends.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message {
            $(
                #[doc = concat!("Type ", stringify!($number), ".")]
                $name($name),
            )+
        }

        impl Message {
            /// Every message type: number and name, in the order of the list.
            pub const ALL: &'static [(u16, &'static str)] = &[$(($number, stringify!($name))),+];

            /// The number in the frame header.
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$name(_) => $number),+ }
            }

            /// The message's name, for logs and errors.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),+ }
            }

            fn payload(&self) -> Result<Vec<u8>, CodecError> {
                match self { $(Self::$name(message) => codec::encode(message)),+ }
            }

            /// Reads the payload of a frame; an unknown type is [`CodecError::UnknownType`].
            pub fn decode(frame: &Frame) -> Result<Self, CodecError> {
                match frame.kind {
                    $($number => codec::decode(frame.kind, &frame.payload).map(Self::$name),)+
                    kind => Err(CodecError::UnknownType { kind }),
                }
            }
        }

        $(
            impl From<$name> for Message {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )+
    };
}

messages! {
    0x0001 Hello,
    0x0002 Welcome,
    0x0003 Resync,
    0x0004 Resynced,
    0x0005 GoAway,
    0x0006 Unsupported,
    0x0007 Journal,
    0x0010 StartAttempt,
    0x0011 StartAnswer,
    0x0012 CancelAttempt,
    0x0013 CancelAnswer,
    0x0014 Acquire,
    0x0015 AcquireAnswer,
    0x0016 AcquireProgress,
    0x0017 Ack,
    0x0018 Echo,
    0x0019 EchoAnswer,
    0x0020 Records,
    0x0021 AttemptEnded,
    0x0022 RecordsGone,
    0x0023 OutputHeld,
    0x0030 FetchObjects,
    0x0031 ObjectFollows,
    0x0032 ObjectRefused,
    0x0033 FetchArtifact,
    0x0034 ArtifactFollows,
    0x0035 ArtifactRefused,
    0x0036 DropArtifact,
    0x0037 ArtifactDropped,
    0x0040 EnrolRequest,
    0x0041 EnrolAccepted,
    0x0042 EnrolRefused,
    0x0043 CertificateDue,
    0x0044 RenewCertificate,
    0x0045 RenewAnswer,
    0x0046 Leave,
    0x0047 LeaveAnswer,
}

impl Message {
    /// The whole frame: header and payload, ready for the stream.
    pub fn to_frame(&self) -> Result<Vec<u8>, CodecError> {
        let payload = self.payload()?;
        let length = u32::try_from(payload.len()).map_err(|_| CodecError::TooLarge)?;
        let header = Header {
            kind: self.kind(),
            flags: 0,
            length,
        };
        Ok([header.encode().as_slice(), &payload].concat())
    }
}
