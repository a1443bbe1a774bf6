//! minikube, with its docker driver: each node is a container here too.
//!
//! Its program makes, starts and deletes clusters, and writes kubeconfigs. What it keeps of a cluster (its profile) is read from
//! the file that `minikube profile list -o json` prints, because that takes no time.

mod profile;

use std::fs::File;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::{Cluster, ClusterName, Node, Provider, Runtime, Spec, says_that_a_name_is_taken};
use crate::docker::{Container, Docker};
use crate::exit::Code;
use crate::names::NODE_DATA;
use crate::process;
use profile::Profile;

/// What all of minikube's nodes have, and no other container.
const CREATED_BY_LABEL: &str = "created_by.minikube.sigs.k8s.io=true";
/// The label of what minikube makes for a profile: its name.
const NAME_LABEL: &str = "name.minikube.sigs.k8s.io";
/// The driver whose nodes are containers of a Docker Engine.
const DRIVER: &str = "docker";
/// No emoji, and no asking.
const MANNERS: [(&str, &str); 2] = [
    ("MINIKUBE_IN_STYLE", "false"),
    ("MINIKUBE_WANTUPDATENOTIFICATION", "false"),
];
/// Flags of `minikube start` that are said otherwise, and how.
const OURS: [(&[&str], &str); 4] = [
    (&["-p", "--profile"], "--name"),
    (&["-n", "--nodes"], "--nodes"),
    (&["--base-image"], "--kubernetes-image"),
    (&["--mount", "--mount-string"], "--data"),
];

/// A cluster of minikube's: a profile.
#[derive(Debug)]
pub(super) struct Minikube {
    name: ClusterName,
    docker: Docker,
    /// While it runs, its address does not change.
    kubeconfig: Mutex<Option<String>>,
}

/// Fails unless minikube is here.
pub(super) fn require() -> anyhow::Result<()> {
    process::require(
        "minikube",
        "install it as https://minikube.sigs.k8s.io/docs/start says",
    )
}

/// The context that minikube writes for a profile.
pub(super) fn context(name: &ClusterName) -> String {
    name.to_string()
}

/// The profile of the docker driver that a context belongs to.
pub(super) fn cluster_of(context: &str) -> Option<ClusterName> {
    let name = context.parse().ok()?;
    let profile = Profile::read(&name).ok()??;
    (profile.driver() == DRIVER).then_some(name)
}

/// Whether minikube keeps a profile of that name.
pub(super) fn has_profile(name: &ClusterName) -> bool {
    matches!(Profile::read(name), Ok(Some(_)))
}

/// Whether there is a profile, or what is left of one.
pub(super) async fn exists(name: &ClusterName, docker: &Docker) -> anyhow::Result<bool> {
    Ok(has_profile(name) || !containers(name, None, docker).await?.is_empty())
}

/// The containers that are the nodes of a profile, the control plane first.
async fn containers(
    name: &ClusterName,
    profile: Option<&Profile>,
    docker: &Docker,
) -> anyhow::Result<Vec<Container>> {
    let all = docker.containers(Some(CREATED_BY_LABEL)).await?;
    let Some(profile) = profile else {
        // Of a profile that minikube has forgotten, or that another user has.
        return Ok(all
            .into_iter()
            .filter(|container| is_machine_of(&container.name, name))
            .collect());
    };
    let machines = profile.machines(name);
    let of = |machine: &String| all.iter().find(|container| container.name == *machine);
    Ok(machines.iter().filter_map(of).cloned().collect())
}

/// Whether a machine is called as one of this profile's: like the profile, or with a number behind it.
fn is_machine_of(machine: &str, name: &ClusterName) -> bool {
    match machine.strip_prefix(name.as_str()) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix("-m")
            .is_some_and(|number| number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    }
}

impl Minikube {
    pub(super) fn new(name: ClusterName, docker: Docker) -> Self {
        Self {
            name,
            docker,
            kubeconfig: Mutex::new(None),
        }
    }

    /// What minikube keeps of it, if it can be worked with.
    fn profile(&self) -> anyhow::Result<Option<Profile>> {
        let profile = Profile::read(&self.name)?;
        match &profile {
            Some(profile) if profile.driver() != DRIVER => Err(Code::Conflict.error(format!(
                "minikube's profile {} is one of its {} driver, and wharf works with the docker driver: choose another name with --name, or reach it as an existing one with `wharf up --provider existing --context {}`",
                self.name, profile.driver(), self.name
            ))),
            _ => Ok(profile),
        }
    }

    async fn run(&self, args: &[&str], lock: Option<File>) -> anyhow::Result<Vec<u8>> {
        let variables = MANNERS.map(|(name, value)| (name, value.as_ref()));
        let args = [&["--profile", self.name.as_str()], args].concat();
        process::run_with("minikube", &args, &variables, lock).await
    }

    async fn start_with(&self, args: &[&str], lock: File) -> anyhow::Result<()> {
        let args = [&["start", "--interactive=false"], args].concat();
        self.run(&args, Some(lock)).await.map_err(|error| {
            match format!("{error:#}").contains("DRV_AS_ROOT") {
                true => error.context("minikube's docker driver is not for root: `-- --force` at the end of the command passes that on"),
                false => error,
            }
        })?;
        Ok(())
    }

    /// minikube would start a profile of that name as it is, with other ports and directories.
    async fn require_no_profile(&self, lock: File) -> anyhow::Result<()> {
        match self.profile()? {
            None => Ok(()),
            Some(profile) if profile.mounts(NODE_DATA) => self.delete(lock).await,
            Some(_) => Err(Code::Conflict.error(format!(
                "minikube has a profile {name} without its nodes, and wharf did not make it: `minikube delete --profile {name}` takes it away, or choose another name with --name",
                name = self.name
            ))),
        }
    }
}

#[async_trait]
impl Cluster for Minikube {
    fn provider(&self) -> Provider {
        Provider::Minikube
    }

    fn engine(&self) -> Option<&Docker> {
        Some(&self.docker)
    }

    fn context(&self) -> String {
        context(&self.name)
    }

    fn runtime(&self) -> anyhow::Result<Runtime> {
        let profile = self.profile()?;
        match profile.as_ref().map_or("containerd", Profile::runtime) {
            "containerd" => Ok(Runtime::Containerd),
            "docker" => Ok(Runtime::Docker),
            other => Err(Code::Conflict.error(format!(
                "the nodes of {} run {other}, and wharf knows containerd and docker: make the cluster with `minikube start --container-runtime=containerd`",
                self.name
            ))),
        }
    }

    async fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let profile = self.profile()?;
        let nodes = containers(&self.name, profile.as_ref(), &self.docker).await?;
        Ok(nodes.into_iter().map(Node::from).collect())
    }

    async fn create(&self, spec: &Spec, lock: File) -> anyhow::Result<()> {
        self.require_no_profile(lock.try_clone().context("sharing the environment's lock")?)
            .await?;
        let args = start_args(spec);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let clone = lock.try_clone().context("sharing the environment's lock")?;
        let started = self.start_with(&args, clone).await;
        if started.is_err() {
            // What it has made stays otherwise, and would be started as it is the next time.
            let _ = self.delete(lock).await;
        }
        started
    }

    fn is_name_taken(&self, error: &anyhow::Error) -> bool {
        says_that_a_name_is_taken(&format!("{error:#}"))
    }

    async fn delete(&self, lock: File) -> anyhow::Result<()> {
        self.kubeconfig.lock().await.take();
        self.run(&["delete"], Some(lock)).await?;
        // Of several nodes minikube tries it after the first, and the others are still on it.
        self.docker
            .remove_network(&format!("{NAME_LABEL}={}", self.name))
            .await
    }

    async fn clear(&self, lock: File) -> anyhow::Result<()> {
        // Of a profile whose nodes are gone its network and its volumes may be left, and the profile itself.
        self.delete(lock).await
    }

    async fn start(&self, _: &[String], arguments: &[String], lock: File) -> anyhow::Result<()> {
        self.kubeconfig.lock().await.take();
        // As a whole: the nodes' certificates and addresses are minikube's to see to.
        let args: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.start_with(&args, lock).await
    }

    async fn kubeconfig(&self) -> anyhow::Result<String> {
        let mut known = self.kubeconfig.lock().await;
        if let Some(kubeconfig) = known.as_ref() {
            return Ok(kubeconfig.clone());
        }
        // minikube prints none, but it writes one to where it is told. It knows where the cluster is on each system.
        let directory = tempfile::tempdir().context("making a directory for a kubeconfig")?;
        let file = directory.path().join("kubeconfig");
        let mut variables = MANNERS.map(|(name, value)| (name, value.as_ref())).to_vec();
        variables.push(("KUBECONFIG", file.as_os_str()));
        let args = ["--profile", self.name.as_str(), "update-context"];
        process::run_with("minikube", &args, &variables, None).await?;
        let text = std::fs::read_to_string(&file).context("reading minikube's kubeconfig")?;
        Ok(known.insert(text).clone())
    }

    async fn export_kubeconfig(&self) -> anyhow::Result<()> {
        self.run(&["update-context"], None).await.map(|_| ())
    }

    async fn run_on(
        &self,
        node: &str,
        command: &[&str],
        stdin: Option<Bytes>,
    ) -> anyhow::Result<String> {
        self.docker.run(node, command, stdin).await
    }
}

/// How `minikube start` is told to make a cluster.
fn start_args(spec: &Spec) -> Vec<String> {
    let mut args = vec![
        format!("--driver={DRIVER}"),
        format!("--nodes={}", spec.nodes),
        // The first is what releases before 1.37 want besides.
        "--mount".to_owned(),
        format!("--mount-string={}:{NODE_DATA}", spec.data.display()),
    ];
    let is_set = std::env::var_os("MINIKUBE_CONTAINER_RUNTIME").is_some();
    if !is_set && runtime_in(&spec.arguments).is_none() {
        // minikube's own default from 1.39 on.
        args.push("--container-runtime=containerd".to_owned());
    }
    args.extend(
        spec.image
            .iter()
            .map(|image| format!("--base-image={image}")),
    );
    args.extend(spec.arguments.iter().cloned());
    args
}

/// The runtime that arguments for `minikube start` name.
pub(super) fn runtime_in(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    let mut named = None;
    while let Some(word) = words.next() {
        named = match (word, word.strip_prefix("--container-runtime=")) {
            ("-c" | "--container-runtime", _) => words.next(),
            (_, Some(value)) => Some(value),
            (_, None) => match word.strip_prefix("-c") {
                Some(value) => Some(value.trim_start_matches('=')),
                None => named,
            },
        };
    }
    named
}

/// Fails on arguments for minikube that wharf has itself, or that take it where wharf cannot follow.
pub(super) fn refuse_ours(arguments: &[String]) -> anyhow::Result<()> {
    for (number, argument) in arguments.iter().enumerate() {
        let (flag, value) = (
            flag(argument),
            argument.split_once('=').map(|(_, value)| value),
        );
        if let Some((_, instead)) = OURS.iter().find(|(flags, _)| flags.contains(&flag)) {
            return Err(Code::Usage.error(format!(
                "{flag} is not for minikube to be told: say {instead}, before the --"
            )));
        }
        let value = value.or_else(|| arguments.get(number + 1).map(String::as_str));
        if matches!(flag, "--driver" | "--vm-driver") && value != Some(DRIVER) {
            return Err(Code::Usage.error(
                "wharf works with minikube's docker driver, whose nodes are containers: leave --driver out",
            ));
        }
    }
    Ok(())
}

fn flag(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(flag, _)| flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arguments: &[&str]) -> Spec {
        Spec {
            nodes: 2,
            port: 5055,
            has_ipv6: true,
            data: "/home/ann/data".into(),
            image: None,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            config: "/state/dev.kind.json".into(),
        }
    }

    #[test]
    fn how_a_cluster_of_two_nodes_is_made() {
        let args = start_args(&spec(&["--memory=4g"])).join(" ");
        assert_eq!(
            args,
            "--driver=docker --nodes=2 --mount --mount-string=/home/ann/data:/var/lib/wharf --container-runtime=containerd --memory=4g"
        );
        for own in [&["-c", "docker"][..], &["--container-runtime=docker"]] {
            let args = start_args(&spec(own)).join(" ");
            assert!(
                !args.contains("containerd") && args.contains("docker"),
                "{args}"
            );
        }
    }

    #[test]
    fn a_runtime_is_named_in_any_way_and_the_last_counts() {
        let named = |words: &[&str]| runtime_in(&spec(words).arguments).map(str::to_owned);
        for words in [
            &["--force", "-c", "docker"][..],
            &["-c=docker"],
            &["-cdocker"],
            &["--container-runtime", "docker", "--force"],
            &["-c", "containerd", "--container-runtime=docker"],
        ] {
            assert_eq!(named(words).as_deref(), Some("docker"), "{words:?}");
        }
        assert_eq!(named(&["--cpus=2", "--cni", "bridge"]), None);
    }

    #[test]
    fn what_wharf_says_itself_is_not_passed_on() {
        let refused = |words: &[&str]| refuse_ours(&spec(words).arguments).is_err();
        for words in [
            &["-p", "x"][..],
            &["--profile=x"],
            &["--nodes=3"],
            &["--mount-string=a:b"],
            &["--driver=kvm2"],
            &["--driver", "kvm2"],
        ] {
            assert!(refused(words), "{words:?}");
        }
        assert!(!refused(&["--driver=docker", "--memory=4g", "--force"]));
        assert!(!refused(&["--driver", "docker"]));
    }

    #[test]
    fn machines_of_a_profile() {
        let name = "dev".parse().unwrap();
        for machine in ["dev", "dev-m02", "dev-m13"] {
            assert!(is_machine_of(machine, &name), "{machine}");
        }
        for machine in ["dev2", "dev-m", "dev-m02-m03", "dev-mx1", "de", "dev.wharf"] {
            assert!(!is_machine_of(machine, &name), "{machine}");
        }
    }
}
