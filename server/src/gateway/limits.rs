//! What strangers and agents may take of the gateway, in one place. The transport's own limits are in
//! `transport.rs`.
//!
//! They are chosen so that a fleet of 1,000 agents behind one address gets in again within a minute
//! after the server was restarted, while one peer, or many with made-up addresses, cannot take the
//! server's processor or memory. A full handshake costs about a millisecond of one core.

/// Handshakes that may be under way from all addresses. Beyond it nobody is answered; a peer sends its
/// first packet again after a second, and handshakes last well under one.
pub(super) const OPENING: usize = 1024;
/// From this many open handshakes on, a peer must prove its address first.
pub(super) const RETRY_FROM: usize = 256;
/// The same for one address, so that handshakes in an address's name that are not from there cannot
/// use up what it may have.
pub(super) const RETRY_FROM_AN_ADDRESS: u32 = 64;

/// Connections of one address, for as long as they last: a NAT with a few thousand agents fits.
pub(super) const CONNECTIONS_AN_ADDRESS: u32 = 4096;
/// Of these, those of which it is not known yet that they are an agent's: handshakes under way, and
/// enrolments. A thousand agents have half of theirs done within two seconds; the rest follow when they
/// repeat their first packet.
pub(super) const UNPROVEN_AN_ADDRESS: u32 = 512;
/// Enrolments under way, of all addresses. Each holds a connection for up to 25 s.
pub(super) const STRANGERS: usize = 512;

/// Handshakes a second, of all addresses, in the long run: half of a core.
pub(super) const HANDSHAKES_A_SECOND: u32 = 500;
/// How many more may come at once: two NATs full of agents.
pub(super) const HANDSHAKES_AT_ONCE: u32 = 2048;
/// Handshakes a second of one address in the long run: a tenth of a core for who has but one.
pub(super) const HANDSHAKES_A_SECOND_AN_ADDRESS: u32 = 100;
/// How many more may come from it at once: all agents of a NAT, after a restart of the server.
pub(super) const HANDSHAKES_AT_ONCE_AN_ADDRESS: u32 = 1024;
/// How many addresses are remembered before those are forgotten of which nothing is open.
pub(super) const ADDRESSES: usize = 8192;

/// Refused connections that are told a minute; the rest are counted.
pub(super) const REFUSALS_A_MINUTE: u32 = 10;

/// Attempts that one agent may report. Beyond it something is wrong with its journal.
pub(super) const REPORTS: usize = 100_000;
/// And their size in memory: as many, with a sentence each. An agent may be in the middle of one report
/// only, the newest.
pub(super) const REPORTS_BYTES: usize = 16 * 1024 * 1024;

/// How many arrivals wait to be taken in, in each of the two lanes. A full one holds the agents' streams
/// back.
pub(super) const ARRIVALS: usize = 1024;
/// How large answers may be together, those that are being taken in included: two of the largest reports.
pub(super) const ANSWERS_BYTES: usize = 2 * REPORTS_BYTES;
/// How large what attempts print may be together, that which is being stored included: some hundred full
/// messages of records.
pub(super) const ARRIVALS_BYTES: usize = 64 * 1024 * 1024;
