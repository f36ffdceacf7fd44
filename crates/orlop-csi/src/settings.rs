//! What the driver is told when it is started, and whether it can be so.

use std::path::PathBuf;

use orlop_model::{Error, ErrorKind, Result};

/// What the driver is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node, as the orchestrator calls it.
    pub node: String,
    /// Growing a volume is left to the call on its node: for a cluster whose one resizer would ask the
    /// driver of any node.
    pub expand_on_node: bool,
}

impl Settings {
    /// Checks the node's name, which becomes the value of a label.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn new(node: String, expand_on_node: bool) -> Result<Self> {
        const MOST: usize = 63;
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let legal = node.len() <= MOST
            && node.chars().all(inside)
            && ends(node.chars().next())
            && ends(node.chars().next_back());
        if legal {
            return Ok(Self { node, expand_on_node });
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("{node:?} can't be the name of a node"))
            .object("node id")
            .hint("use letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, at most 63 characters"))
    }
}

/// The path of the socket in an endpoint, `unix:///absolute/path`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for anything else: this is no service for a network.
pub fn socket(endpoint: &str) -> Result<PathBuf> {
    let path = endpoint.strip_prefix("unix://").filter(|path| path.starts_with('/') && !path.ends_with('/'));
    path.map(PathBuf::from).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("{endpoint:?} is no endpoint of CSI"))
            .object("CSI endpoint")
            .hint("write unix:// and the absolute path of a socket, such as unix:///run/orlop/csi.sock")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_values_of_labels() {
        for good in ["a", "node-1.example.com", "Ip_10", &"n".repeat(63)] {
            assert!(Settings::new(good.to_owned(), false).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a/b", "ä", "a b", &"n".repeat(64)] {
            assert_eq!(Settings::new(bad.to_owned(), false).unwrap_err().kind, ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn endpoints_are_unix_sockets() {
        assert_eq!(socket("unix:///run/csi.sock").unwrap(), PathBuf::from("/run/csi.sock"));
        for bad in
            ["", "/run/csi.sock", "unix://run/csi.sock", "unix:/run/csi.sock", "tcp://0.0.0.0:1", "unix:///"]
        {
            assert_eq!(socket(bad).unwrap_err().kind, ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
