//! Tests of keys, certificates and tokens.
