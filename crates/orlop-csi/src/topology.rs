//! Where volumes can be used: on the node that made them.

use std::collections::BTreeMap;

use orlop_model::{Error, ErrorKind};
use tonic::Code;

use crate::{
    error::{Refusal, Reply},
    protocol::{Topology, TopologyRequirement},
};

/// The label of a node, whose value is its name.
pub(crate) const KEY: &str = "topology.orlop.dev/node";

/// This node, by the name that the orchestrator has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node(pub(crate) String);

impl Node {
    /// Where this node is.
    pub(crate) fn topology(&self) -> Topology {
        Topology { segments: BTreeMap::from([(KEY.to_owned(), self.0.clone())]) }
    }

    /// Whether this node is in that place. Labels of others say nothing about it.
    pub(crate) fn is_in(&self, place: &Topology) -> bool {
        place.segments.get(KEY).is_none_or(|name| *name == self.0)
    }

    /// Refuses what has to be usable elsewhere.
    pub(crate) fn serves(&self, wanted: Option<&TopologyRequirement>) -> Reply<()> {
        let Some(wanted) = wanted else { return Ok(()) };
        if wanted.requisite.is_empty() || wanted.requisite.iter().any(|place| self.is_in(place)) {
            return Ok(());
        }
        let names: Vec<&str> =
            wanted.requisite.iter().filter_map(|place| place.segments.get(KEY)).map(String::as_str).collect();
        let message =
            format!("this is node {}, and the volume has to be usable on {}", self.0, names.join(" or "));
        // Not the kind's own code: whoever asks is to ask the driver of another node.
        Err(Refusal::coded(
            Code::ResourceExhausted,
            Error::new(ErrorKind::Unsupported, message)
                .object("accessibility_requirements")
                .hint("the driver of that node makes it: run the provisioner on every node"),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn place(pairs: &[(&str, &str)]) -> Topology {
        Topology { segments: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
    }

    #[test]
    fn a_requirement_that_leaves_this_node_out_is_refused() {
        let node = Node("a".to_owned());
        let (here, there, other) = (place(&[(KEY, "a")]), place(&[(KEY, "b")]), place(&[("zone", "1")]));
        let serves = |requisite: &[&Topology], preferred: &[&Topology]| {
            let own = |places: &[&Topology]| places.iter().map(|place| (*place).clone()).collect();
            let wanted = TopologyRequirement { requisite: own(requisite), preferred: own(preferred) };
            node.serves(Some(&wanted)).map_err(|refusal| refusal.code())
        };
        assert!(node.serves(None).is_ok());
        assert_eq!(serves(&[&here], &[]), Ok(()));
        assert_eq!(serves(&[&there, &here], &[&there]), Ok(()));
        assert_eq!(serves(&[&other], &[]), Ok(()));
        assert_eq!(serves(&[], &[&there]), Ok(()));
        assert_eq!(serves(&[&there], &[]), Err(Code::ResourceExhausted));
        assert!(node.is_in(&node.topology()));
    }
}
