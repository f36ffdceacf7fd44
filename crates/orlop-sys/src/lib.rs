//! The crate's first lines; its modules follow.
