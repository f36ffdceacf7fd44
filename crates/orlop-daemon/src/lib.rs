//! The crate's first lines; its modules follow.
#![forbid(unsafe_code)]
