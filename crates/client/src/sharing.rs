//! Groups, resources, and who can touch what.

use crate::{Client, Error};
use reqwest::Method;
use stead_api::account::Status;
use stead_api::group::{CreateGroup, FoundGroup, Group, GroupMember, Groups, UpdateGroup};
use stead_api::id::PrincipalId;
use stead_api::resource::{
    CreateResource, Resource, ResourceAccess, ResourcePage, ShareResource, UnshareResource, UpdateResource,
};

impl Client {
    /// All groups with their members, by id.
    pub async fn list_groups(&self) -> Result<Groups, Error> {
        self.call(Method::GET, "/v1/workspace/groups", None::<&()>).await
    }

    /// Groups by a part of their name.
    pub async fn search_groups(&self, name: &str) -> Result<Vec<FoundGroup>, Error> {
        self.query("/v1/workspace/groups/search", &[("name", name)]).await
    }

    /// Makes a group.
    pub async fn create_group(&self, new: &CreateGroup) -> Result<Group, Error> {
        self.call(Method::POST, "/v1/workspace/groups", Some(new)).await
    }

    /// One group with its members.
    pub async fn get_group(&self, group: &str) -> Result<Group, Error> {
        self.call(Method::GET, &format!("/v1/workspace/groups/{group}"), None::<&()>).await
    }

    /// Renames a group, or changes what it gives.
    pub async fn update_group(&self, group: &str, change: &UpdateGroup) -> Result<Group, Error> {
        self.call(Method::PATCH, &format!("/v1/workspace/groups/{group}"), Some(change)).await
    }

    /// Deletes a group.
    pub async fn delete_group(&self, group: &str) -> Result<Status, Error> {
        self.call(Method::DELETE, &format!("/v1/workspace/groups/{group}"), None::<&()>).await
    }

    /// Adds a person or a service account to a group.
    pub async fn add_group_member(&self, group: &str, member: &GroupMember) -> Result<Status, Error> {
        self.call(Method::POST, &format!("/v1/workspace/groups/{group}/members"), Some(member)).await
    }

    /// Removes a person or a service account from a group.
    pub async fn remove_group_member(&self, group: &str, member: &GroupMember) -> Result<Status, Error> {
        self.call(Method::POST, &format!("/v1/workspace/groups/{group}/members/remove"), Some(member)).await
    }

    /// A page of what the caller can touch. `query` are the filters by name, as in `("resource_type", "voice")`.
    pub async fn list_resources(&self, query: &[(&str, &str)]) -> Result<ResourcePage, Error> {
        self.query("/v1/workspace/resources", query).await
    }

    /// Registers a resource.
    pub async fn create_resource(&self, new: &CreateResource) -> Result<Resource, Error> {
        self.call(Method::POST, "/v1/workspace/resources", Some(new)).await
    }

    /// A resource, and with whom it is shared.
    pub async fn get_resource(&self, kind: &str, id: &str) -> Result<Resource, Error> {
        self.call(Method::GET, &of(kind, id, ""), None::<&()>).await
    }

    /// Renames a resource.
    pub async fn update_resource(&self, kind: &str, id: &str, change: &UpdateResource) -> Result<Resource, Error> {
        self.call(Method::PATCH, &of(kind, id, ""), Some(change)).await
    }

    /// Forgets a resource and everything shared of it.
    pub async fn delete_resource(&self, kind: &str, id: &str) -> Result<Status, Error> {
        self.call(Method::DELETE, &of(kind, id, ""), None::<&()>).await
    }

    /// Gives somebody a role in place of the one they have.
    pub async fn share_resource(&self, id: &str, share: &ShareResource) -> Result<Status, Error> {
        self.call(Method::POST, &format!("/v1/workspace/resources/{id}/share"), Some(share)).await
    }

    /// Takes a role back.
    pub async fn unshare_resource(&self, id: &str, share: &UnshareResource) -> Result<Status, Error> {
        self.call(Method::POST, &format!("/v1/workspace/resources/{id}/unshare"), Some(share)).await
    }

    /// Who can touch a resource, each with the way.
    pub async fn get_resource_access(&self, kind: &str, id: &str) -> Result<ResourceAccess, Error> {
        self.call(Method::GET, &of(kind, id, "/access"), None::<&()>).await
    }

    /// A page of what a person or a service account can touch.
    pub async fn get_member_access(&self, member: &PrincipalId, query: &[(&str, &str)]) -> Result<ResourcePage, Error> {
        self.query(&format!("/v1/workspace/members/{member}/access"), query).await
    }
}

/// Types and ids are of characters that stand for themselves in a URL.
fn of(kind: &str, id: &str, what: &str) -> String {
    format!("/v1/workspace/resources/{id}{what}?resource_type={kind}")
}
