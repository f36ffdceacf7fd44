//! Which HTTP status each kind of error has. Other fronts have tables of their own.

use hyper::StatusCode;
use orlop_model::ErrorKind;

/// The status of an answer that is an error of this kind.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::InvalidManifest => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists => StatusCode::CONFLICT,
        ErrorKind::Immutable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::InUse => StatusCode::CONFLICT,
        ErrorKind::AccessRefused => StatusCode::CONFLICT,
        ErrorKind::PoolFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::LowSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::WorkspaceFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Protected => StatusCode::CONFLICT,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Recovering => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::HostLimit => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Host => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Store => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Expired => StatusCode::GONE,
        ErrorKind::NewerFormat => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Locked => StatusCode::LOCKED,
        ErrorKind::Interrupted => StatusCode::CONFLICT,
        ErrorKind::Unreachable => StatusCode::BAD_GATEWAY,
    }
}

/// After how many seconds the same request is worth another try, for kinds where it is.
pub fn retry_after(kind: ErrorKind) -> Option<u32> {
    match kind {
        ErrorKind::Recovering | ErrorKind::Unavailable => Some(1),
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidManifest
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Immutable
        | ErrorKind::Conflict
        | ErrorKind::InUse
        | ErrorKind::AccessRefused
        | ErrorKind::PoolFull
        | ErrorKind::LowSpace
        | ErrorKind::WorkspaceFull
        | ErrorKind::Protected
        | ErrorKind::Unsupported
        | ErrorKind::Damaged
        | ErrorKind::HostLimit
        | ErrorKind::Host
        | ErrorKind::Store
        | ErrorKind::Expired
        | ErrorKind::NewerFormat
        | ErrorKind::Locked
        | ErrorKind::Interrupted
        | ErrorKind::Unreachable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_published() {
        let table: Vec<_> =
            ErrorKind::ALL.iter().map(|kind| format!("{kind:?} {}", status(*kind).as_u16())).collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        InvalidArgument 400
        InvalidManifest 422
        PermissionDenied 403
        NotFound 404
        AlreadyExists 409
        Immutable 422
        Conflict 409
        InUse 409
        AccessRefused 409
        PoolFull 507
        LowSpace 507
        WorkspaceFull 507
        Protected 409
        Unsupported 501
        Recovering 503
        Unavailable 503
        Damaged 500
        HostLimit 503
        Host 500
        Store 500
        Expired 410
        NewerFormat 500
        Locked 423
        Interrupted 409
        Unreachable 502
        ");
    }
}
