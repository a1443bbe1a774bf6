//! The chart and the kustomization as files: no cluster is needed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::{self, Output};

use crate::objects::{Difference, Objects};
use crate::{DEPLOY, LONG, VERSION};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart");
/// An image, without which there is no chart.
const IMAGE: &str = "image.repository=registry.example.com/wharf";
/// In what the chart differs from the kustomization, as they come.
const DIFFERENCES: [Difference; 3] = [
    ("Namespace/wharf-system", "Helm has --create-namespace"),
    (
        "*/labels/app.kubernetes.io~managed-by",
        "each says who manages it",
    ),
    (
        "PersistentVolumeClaim/data/metadata/annotations/helm.sh~resource-policy",
        "a release that goes would take the images with it",
    ),
];

#[test]
fn the_chart_and_the_kustomization_make_the_same() -> Result<()> {
    let bed = Bed::ensure_tools(&[Tool::Helm, Tool::Kubectl])?;
    let kustomized = command::output(bed.command("kubectl").args(["kustomize", DEPLOY]), LONG)?;
    template(&["--set", IMAGE])?.differ_only_in(&Objects::from_yaml(&kustomized)?, &DIFFERENCES)
}

#[test]
fn the_chart_is_sound() -> Result<()> {
    for set in [&[][..], &["--set", IMAGE]] {
        let linted = helm(&[&["lint", "--strict", CHART], set].concat())?;
        ensure!(linted.status.success(), "{linted:?}");
    }
    for (set, words) in [
        ("port=5000", "image.repository is not set"),
        ("imge.tag=1", "'imge' not allowed"),
        ("image.tag=latest", "/image/tag"),
        ("storage.type=disk", "/storage/type"),
        ("port=0", "/port"),
    ] {
        let refused = helm(&["template", "wharf", CHART, "--set", set])?;
        ensure!(
            !refused.status.success() && refused.stderr.contains(words),
            "{set}: {refused:?}"
        );
    }
    Ok(())
}

#[test]
fn every_value_arrives() -> Result<()> {
    let other = template(&[
        "--namespace=images",
        "--set=image.repository=r.example.com/w,image.tag=1.2.3,image.pullPolicy=Never",
        "--set=imagePullSecrets[0].name=key,port=80,relay.publishedNode=n1",
        "--set=registry.arguments={--gc-grace=24h},registry.user=7,registry.group=8",
        "--set=registry.nodeSelector.disk=big,registry.resources.limits.memory=1Gi",
        "--set=relay.resources.limits.memory=64Mi,relay.hosts.directory=/elsewhere",
        "--set=storage.pvc.size=1Ti,storage.pvc.storageClass=fast,storage.pvc.keep=false",
        "--set=localRegistryHosting.host=dev.example.com:80",
    ])?;
    let (pod, container) = ("/spec/template/spec", "/spec/template/spec/containers");
    let allowed = ["", ".images", ".images.svc", ".images.svc.cluster.local"];
    let mut serve: Vec<String> = ["serve", "--listen=0.0.0.0:5000", "--listen=[::]:5000"]
        .iter()
        .chain(&["--data=/data", "--lock-wait=120", "--accept-tunnels"])
        .map(|argument| (*argument).to_owned())
        .collect();
    serve.extend(allowed.map(|end| format!("--allow-host=registry{end}")));
    serve.push("--gc-grace=24h".to_owned());
    let to = "--to=$(REGISTRY_SERVICE_HOST):$(REGISTRY_SERVICE_PORT)";
    let relay = [
        "relay",
        "--port=80",
        to,
        "--hosts=/hosts",
        "--published-node=n1",
    ];
    let check = json!(["/wharf", "relay", "--check", "--port=80"]);
    let hosting = "host: \"dev.example.com:80\"\nhostFromContainerRuntime: \"localhost:80\"\n\
        hostFromClusterNetwork: \"registry.images.svc.cluster.local:5000\"\n";
    let (registry, relays) = ("Deployment/registry", "DaemonSet/relay");
    for (title, path, value) in [
        (registry, "/metadata/namespace", json!("images")),
        (
            registry,
            &format!("{container}/registry/image"),
            json!("r.example.com/w:1.2.3"),
        ),
        (
            registry,
            &format!("{container}/registry/imagePullPolicy"),
            json!("Never"),
        ),
        (
            registry,
            &format!("{container}/registry/args"),
            json!(serve),
        ),
        (
            registry,
            &format!("{container}/registry/resources/limits/memory"),
            json!("1Gi"),
        ),
        (
            registry,
            &format!("{pod}/imagePullSecrets/key/name"),
            json!("key"),
        ),
        (registry, &format!("{pod}/nodeSelector/disk"), json!("big")),
        (
            registry,
            &format!("{pod}/securityContext/runAsUser"),
            json!(7),
        ),
        (
            registry,
            &format!("{pod}/securityContext/runAsGroup"),
            json!(8),
        ),
        (
            registry,
            &format!("{pod}/securityContext/fsGroup"),
            json!(8),
        ),
        (relays, "/metadata/namespace", json!("images")),
        (
            relays,
            &format!("{container}/relay/image"),
            json!("r.example.com/w:1.2.3"),
        ),
        (relays, &format!("{container}/relay/args"), json!(relay)),
        (
            relays,
            &format!("{container}/relay/startupProbe/exec/command"),
            check.clone(),
        ),
        (
            relays,
            &format!("{container}/relay/readinessProbe/exec/command"),
            check,
        ),
        (
            relays,
            &format!("{container}/relay/resources/limits/memory"),
            json!("64Mi"),
        ),
        (
            relays,
            &format!("{pod}/volumes/hosts/hostPath/path"),
            json!("/elsewhere"),
        ),
        (CLAIM, "/spec/storageClassName", json!("fast")),
        (CLAIM, "/spec/resources/requests/storage", json!("1Ti")),
        ("Service/registry", "/metadata/namespace", json!("images")),
        (HOSTING, "/data/localRegistryHosting.v1", json!(hosting)),
    ] {
        let is = other.get(title, path)?;
        ensure!(*is == value, "{title}{path} is {is}, not {value}");
    }
    ensure!(other.get(CLAIM, KEEP).is_err(), "the claim is kept");
    Ok(())
}

const CLAIM: &str = "PersistentVolumeClaim/data";
const HOSTING: &str = "ConfigMap/local-registry-hosting";
const KEEP: &str = "/metadata/annotations/helm.sh~resource-policy";

#[test]
fn the_images_are_where_they_are_wanted() -> Result<()> {
    let volume = "/spec/template/spec/volumes/data";
    for (set, path, value) in [
        ("storage.type=emptyDir", "/emptyDir", json!({})),
        (
            "storage.type=hostPath,storage.hostPath.path=/d",
            "/hostPath/path",
            json!("/d"),
        ),
        (
            "storage.pvc.existingClaim=mine",
            "/persistentVolumeClaim/claimName",
            json!("mine"),
        ),
    ] {
        let objects = template(&["--set", IMAGE, "--set", set])?;
        let is = objects.get("Deployment/registry", &format!("{volume}{path}"))?;
        ensure!(*is == value, "{set}: {is}");
        let has_claim = objects.titles().contains(&CLAIM);
        ensure!(!has_claim, "{set}: there is a claim that nothing uses");
    }
    Ok(())
}

#[test]
fn what_is_left_out_is_not_there() -> Result<()> {
    let out = "relay.hosts.enabled=false,localRegistryHosting.enabled=false";
    let objects = template(&["--set", IMAGE, "--set", out])?;
    let args = objects.get(
        "DaemonSet/relay",
        "/spec/template/spec/containers/relay/args",
    )?;
    let has_hosts = |value: &Value| value.as_str().is_some_and(|text| text.contains("hosts"));
    ensure!(
        !args
            .as_array()
            .context("no arguments")?
            .iter()
            .any(has_hosts),
        "{args}"
    );
    let volume = objects.get("DaemonSet/relay", "/spec/template/spec/volumes/hosts/name");
    ensure!(volume.is_err(), "{volume:?}");
    ensure!(
        !objects.titles().contains(&HOSTING),
        "{:?}",
        objects.titles()
    );
    Ok(())
}

#[test]
fn everything_is_of_the_same_version() -> Result<()> {
    let image = format!("image: docker.io/wharf/wharf:{VERSION}");
    let label = format!("org.opencontainers.image.version=\"{VERSION}\"");
    for (file, line) in [
        ("chart/Chart.yaml", &format!("version: {VERSION}")),
        ("chart/Chart.yaml", &format!("appVersion: {VERSION}")),
        ("kustomization.yaml", &format!("newTag: {VERSION}")),
        ("chart/manifests/registry.yaml", &image),
        ("chart/manifests/relay.yaml", &image),
        ("Containerfile", &label),
    ] {
        let text = std::fs::read_to_string(Path::new(DEPLOY).join(file))?;
        let has = text
            .lines()
            .any(|said| said.trim_start().ends_with(line.as_str()));
        ensure!(has, "no `{line}` in deploy/{file}");
    }
    Ok(())
}

/// What the chart makes.
fn template(arguments: &[&str]) -> Result<Objects> {
    let release = ["template", "wharf", CHART, "--namespace=wharf-system"];
    let Output {
        status,
        stdout,
        stderr,
    } = helm(&[&release, arguments].concat())?;
    ensure!(status.success(), "{stderr}");
    Objects::from_yaml(&stdout)
}

fn helm(arguments: &[&str]) -> Result<Output> {
    let bed = Bed::ensure_tools(&[Tool::Helm])?;
    command::finish(bed.command("helm").args(arguments), LONG)
}
