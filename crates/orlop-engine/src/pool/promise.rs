//! What a pool may be told to promise: the bounds of its capacity and of its overcommit. What it has
//! the room for is `admission`.

use orlop_model::{Error, ErrorKind, Result, Size, resource::Pool};

/// Refuses figures with which a pool could hold nothing, or promise without end.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub(super) fn check(capacity: Option<Size>, overcommit: Option<f64>) -> Result<()> {
    let invalid =
        |field: &str, message: String| Error::new(ErrorKind::InvalidArgument, message).object(field);
    if capacity.is_some_and(|capacity| capacity.bytes() == 0) {
        return Err(invalid("capacity", "a pool with a capacity of 0 can hold nothing".to_owned()).hint(
            "say how much it may hold, such as 100Gi, or leave the capacity out for all that is free",
        ));
    }
    match overcommit {
        // Not as `{factor}`: that writes out every digit.
        Some(factor) if !Pool::OVERCOMMIT.contains(&factor) => {
            Err(invalid("overcommit", format!("an overcommit of {factor:?} makes no sense"))
                .hint(format!("use {}", Pool::OVERCOMMIT_IS)))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_pool() {
        for (capacity, overcommit, field, says) in [
            (Some(0), None, "capacity", "can hold nothing"),
            (Some(1), Some(0.5), "overcommit", "of 0.5 makes"),
            (None, Some(1e308), "overcommit", "of 1e308 makes"),
            (None, Some(1000.1), "overcommit", "of 1000.1 makes"),
            (None, Some(f64::NAN), "overcommit", "of NaN makes"),
            (None, Some(f64::INFINITY), "overcommit", "of inf makes"),
        ] {
            let error = check(capacity.map(Size::from_bytes), overcommit).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::InvalidArgument, Some(field)));
            assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
        }
        for overcommit in [None, Some(1.0), Some(1.5), Some(1000.0)] {
            assert_eq!(check(Some(Size::from_bytes(1)), overcommit), Ok(()));
        }
    }
}
