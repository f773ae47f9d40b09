//! The Windows agent, under Wine. `./test.sh windows` builds it and runs these.
//!
//! Wine is not Windows. What is known to differ, and so is not shown here:
//! - Wine's PowerShell is a stand-in that runs nothing and exits with 0; scripts here are `cmd`'s.
//! - The kernel's count of boots is always 0 there, so that a restart of the machine cannot be told.
//! - There is no `bcryptprimitives.dll`; one of ours lies beside the agent in these tests.
//! - QUIC's own socket cannot be opened for want of its options, so these tests always take the
//!   plain one.

mod supervisor;
