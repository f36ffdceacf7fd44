//! What `deploy` has for Kubernetes and Nomad, checked without a cluster: that it is what Kubernetes
//! takes, that its parts fit each other and the command line, and that it asks for no right in vain.
#![allow(clippy::unwrap_used)]

mod flags;
mod helm;
mod nomad;
mod objects;
mod pods;
mod rights;
mod schema;
