//! Server-side apply of wharf's own objects: what is right already stays as it is, down to its resourceVersion.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};

use tokio::time::{Instant, sleep};

use super::Kube;
use crate::exit::Code;
use crate::names::{MANAGED_BY, MANAGER, NAMESPACE};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

impl Kube {
    /// Applies an object. One of the same name that wharf does not manage is left alone, and reported.
    pub(crate) async fn apply(&self, object: &DynamicObject) -> anyhow::Result<()> {
        let (api, name) = self.api(object)?;
        let title = title(object);
        if is_ours(&api, &name, &title).await? == Some(false) {
            return Err(Code::Conflict.error(format!(
                "{title} exists and is not wharf's (no label {MANAGED_BY}={MANAGER}): delete it, or label it so to hand it over"
            )));
        }
        // Forced: wharf's fields of wharf's objects are put right again, whoever changed them.
        let params = PatchParams::apply(MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("applying {title}"))?;
        Ok(())
    }

    /// Applies an object unless one of that name is there, which must be wharf's and stays as it is.
    pub(crate) async fn make(&self, object: &DynamicObject) -> anyhow::Result<()> {
        let (api, name) = self.api(object)?;
        match is_ours(&api, &name, &title(object)).await? {
            Some(true) => Ok(()),
            _ => self.apply(object).await,
        }
    }

    /// Whether wharf's namespace is there, and wharf's.
    pub(crate) async fn has_namespace(&self) -> anyhow::Result<bool> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = api.get_metadata_opt(NAMESPACE).await;
        let namespace = namespace.context("reading wharf's namespace")?;
        let labels = namespace.and_then(|namespace| namespace.metadata.labels);
        Ok(labels.is_some_and(|labels| labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER)))
    }

    /// Deletes an object of wharf's. What is not there is deleted already; what is not wharf's stays.
    pub(crate) async fn delete(&self, object: &DynamicObject) -> anyhow::Result<()> {
        let (api, name) = self.api(object)?;
        let title = title(object);
        if is_ours(&api, &name, &title).await? != Some(true) {
            return Ok(());
        }
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted
                .map(|_| ())
                .with_context(|| format!("deleting {title}")),
        }
    }

    /// Deletes wharf's namespace with all that is in it, and waits until it has gone.
    pub(crate) async fn delete_namespace(&self, limit: Duration) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let end = Instant::now() + limit;
        loop {
            let Some(namespace) = api
                .get_metadata_opt(NAMESPACE)
                .await
                .context("reading wharf's namespace")?
            else {
                return Ok(());
            };
            if Instant::now() >= end {
                return Err(Code::Timeout.error(format!(
                    "namespace {NAMESPACE} does not end within {} s",
                    limit.as_secs()
                )));
            }
            if namespace.metadata.deletion_timestamp.is_none() {
                let deleted = api.delete(NAMESPACE, &DeleteParams::default()).await;
                deleted.context("deleting wharf's namespace")?;
            }
            sleep(PAUSE).await;
        }
    }

    /// Deletes all objects of one kind that have a label, in one namespace.
    pub(crate) async fn delete_labelled(
        &self,
        like: &DynamicObject,
        selector: &str,
    ) -> anyhow::Result<()> {
        let (api, _) = self.api(like)?;
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::background()
        };
        api.delete_collection(&at_once, &ListParams::default().labels(selector))
            .await
            .context("deleting what the proof left")?;
        Ok(())
    }

    fn api(&self, object: &DynamicObject) -> anyhow::Result<(Api<DynamicObject>, String)> {
        let types = object.types.as_ref().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        Ok((
            api,
            object
                .metadata
                .name
                .clone()
                .context("an object without a name")?,
        ))
    }
}

/// Whether an object is one that wharf manages; nothing where there is none.
async fn is_ours(
    api: &Api<DynamicObject>,
    name: &str,
    title: &str,
) -> anyhow::Result<Option<bool>> {
    let existing = api
        .get_metadata_opt(name)
        .await
        .with_context(|| format!("reading {title}"))?;
    Ok(existing.map(|existing| {
        let labels = existing.metadata.labels.unwrap_or_default();
        labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER)
    }))
}

fn title(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
