//! The tasks of this repository; each lives in a module of its own.
fn main() {}
