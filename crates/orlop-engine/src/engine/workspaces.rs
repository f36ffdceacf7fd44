//! Workspaces: who is granted them, and what they may hold.

use orlop_model::{Result, WorkspaceName, resource::Workspace};

use super::Engine;
use crate::{events::About, request::*, workspace};

impl Engine {
    /// Makes a workspace, or sets who is granted it and what it may hold.
    pub fn put_workspace(
        &self,
        caller: &Caller,
        name: &WorkspaceName,
        request: &WorkspaceRequest,
    ) -> Result<Applied<Workspace>> {
        self.noted("workspace.put", caller, "change of the workspace", About::Workspace(name), |core| {
            workspace::put(core, caller, name, request)
        })
    }

    /// One workspace.
    pub fn workspace(&self, _: &Caller, name: &WorkspaceName) -> Result<Workspace> {
        workspace::show(self.core(), name)
    }

    /// All workspaces.
    pub fn workspaces(&self, _: &Caller) -> Result<Vec<Workspace>> {
        workspace::list(self.core())
    }

    /// Deletes an empty workspace; released volumes count as content.
    pub fn delete_workspace(&self, caller: &Caller, name: &WorkspaceName) -> Result<()> {
        self.noted("workspace.delete", caller, "delete of the workspace", About::Workspace(name), |core| {
            workspace::delete(core, caller, name)
        })
    }
}
