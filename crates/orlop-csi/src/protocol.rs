//! The messages and services as they are on the wire, made from `proto/csi.proto`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("csi.v1");
