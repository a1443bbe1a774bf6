//! Installing what runs in the cluster, and describing it there.

use serde_json::json;

use super::{NODE_OWNER, Run};
use crate::cluster::Entrance;
use crate::environment::Record;
use crate::kube::{Condition, Kube, Manifests, Volume, environment, wait_until};
use crate::names::{ADOPTED_BY, APPLIED, CREATED_BY, MANAGER, NODE_DATA};
use crate::storage::Storage;
use crate::{data, door};

impl Run<'_> {
    pub(super) async fn install(&mut self) -> anyhow::Result<()> {
        let kube = self.kube().await?;
        kube.require_node_port(self.plan.port, self.name.as_str())
            .await?;
        let manifests = self.manifests().await?;
        let (ground, claim) = manifests.ground()?;
        for object in &ground {
            kube.apply(object).await?;
        }
        for object in &claim {
            kube.make(object).await?;
        }
        for object in manifests.registry()? {
            kube.apply(&object).await?;
        }
        // The relays hold their callers while the registry starts, so both may start at once.
        let registry = kube.registry_address().await?;
        for object in manifests
            .relay(registry)?
            .iter()
            .chain(&manifests.hosting()?)
        {
            kube.apply(object).await?;
        }
        let proved = kube.environment().await?.remove("proved");
        self.describe_environment(&kube, &proved.unwrap_or_default())
            .await?;
        self.remember_image()?;
        // New nodes are getting ready meanwhile.
        self.wait_for_nodes().await?;
        let ready = wait_until(&kube, Condition::RegistryReady, self.args.wait).await;
        ready.map_err(|error| match self.plan.storage {
            Storage::Pvc => error.context("the registry waits for its volume, perhaps: where the cluster makes none by itself, --storage host:DIR has a directory of a node instead"),
            Storage::Host | Storage::EmptyDir => error,
        })?;
        wait_until(&kube, Condition::RelaysReady, self.args.wait).await
    }

    async fn manifests(&self) -> anyhow::Result<Manifests> {
        let (entrance, first_node) = (self.plan.entrance(), self.first_node().await?);
        let is_wharfs = !self.plan.adopted;
        let volume = match self.plan.storage {
            Storage::Pvc => Volume::Claim,
            Storage::EmptyDir => Volume::Empty,
            Storage::Host if is_wharfs => Volume::Directory(NODE_DATA.into()),
            Storage::Host if self.plan.provider.reaches_nodes() => {
                Volume::Directory(self.plan.data.clone())
            }
            Storage::Host => Volume::OwnDirectory(self.plan.data.clone()),
        };
        let owner = match (is_wharfs, self.plan.storage) {
            (true, Storage::Host) => data::owner(&self.plan.data)?,
            _ => NODE_OWNER,
        };
        Ok(Manifests {
            image: self.image_name()?,
            port: self.plan.port,
            owner,
            volume,
            pinned_to: self.plan.node.clone(),
            published_node: (entrance != Entrance::Forward).then_some(first_node),
            guest: (entrance == Entrance::Door).then(|| door::name(self.name)),
            tells_containerd: !self.plan.provider.reaches_nodes(),
        })
    }

    /// The image that has to be known the next time, because it cannot be packed.
    pub(super) fn named_image(&self) -> Option<String> {
        let is_named = !self.plan.provider.reaches_nodes();
        self.plan.image.clone().filter(|_| is_named)
    }

    /// Remembers another image than the one before.
    fn remember_image(&self) -> anyhow::Result<()> {
        let image = self.named_image();
        match self.home.read()? {
            Some(record) if record.image != image => self.home.write(&Record { image, ..record }),
            _ => Ok(()),
        }
    }

    /// Writes the cluster's own record: what made it, where its images are, and which nodes have proved that they can pull.
    pub(super) async fn describe_environment(
        &self,
        kube: &Kube,
        proved: &str,
    ) -> anyhow::Result<()> {
        let mut description = json!({
            "name": self.name,
            (if self.plan.adopted { ADOPTED_BY } else { CREATED_BY }): MANAGER,
            "provider": self.plan.provider,
            "port": self.plan.port.to_string(),
            "storage": self.plan.storage,
            "data": self.plan.data,
            "proved": proved,
            APPLIED: kube.applied().await?,
        });
        for (key, value) in [
            ("node", self.plan.node.clone()),
            ("image", self.named_image()),
        ] {
            if let Some(value) = value {
                description[key] = value.into();
            }
        }
        kube.apply(&environment(&description)?).await
    }
}
