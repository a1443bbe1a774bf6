//! Server-side apply of wharf's own objects: what is right already stays as it is, down to its resourceVersion.

use anyhow::Context;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};

use super::Kube;
use crate::exit::Code;
use crate::names::{MANAGED_BY, MANAGER};

impl Kube {
    /// Applies an object. One of the same name that wharf does not manage is left alone, and reported.
    pub(crate) async fn apply(&self, object: &DynamicObject) -> anyhow::Result<()> {
        let (api, name) = self.api(object)?;
        let title = title(object);
        let existing = api
            .get_metadata_opt(&name)
            .await
            .with_context(|| format!("reading {title}"))?;
        if let Some(existing) = existing
            && existing
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(MANAGED_BY))
                .is_none_or(|by| by != MANAGER)
        {
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

fn title(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
