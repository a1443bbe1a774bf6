//! Images that tests and examples need: pulled where they can be, made from Debian's packages and Go modules where not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::minikube::MinikubeImages;
use super::{Bed, engine, root_debian, step};
use crate::command::{self, say};

/// The base images that Dockerfiles in `deploy/examples` name.
const BASE_IMAGES: [&str; 1] = ["python:3-slim"];
/// The smallest image of the registry that `docker build` and kind pull from.
const PROBE: &str = "hello-world:linux";
/// What minikube's nodes are made of besides their image, as kind's have it; and which release it is.
const NODE_FILES: [&str; 4] = [
    "/usr/bin/kubeadm",
    "/usr/bin/kubelet",
    "/usr/bin/kubectl",
    "/kind/version",
];
const QUICK: Duration = Duration::from_secs(20);
/// For gigabytes through a slow disk.
const LONG: Duration = Duration::from_secs(1800);

/// Makes all images available to the engine and returns the node image for kind, if it is not kind's own.
pub(super) fn ensure(bed: &Bed) -> Result<Option<String>> {
    let online = online(bed)?;
    for image in BASE_IMAGES {
        if !online {
            let family = image.replace([':', '/'], "-");
            provide(
                bed,
                &[image],
                &family,
                "base-image.sh",
                &[image],
                &["base-image.sh", "oci.sh", "versions.sh"],
            )?;
        } else if !present(bed, image)? {
            step(&format!("pulling {image}"), || {
                bed.docker(&["pull", "--quiet", image], LONG)
            })?;
        }
    }
    if let Ok(image) = std::env::var("WHARF_BED_NODE_IMAGE") {
        return Ok(Some(image));
    }
    if online && !engine::is_bounded(bed) {
        return Ok(None);
    }
    Ok(Some(kind_node(bed)?))
}

fn kind_node(bed: &Bed) -> Result<String> {
    let files = ["node-image.sh", "oci.sh", "versions.sh", "node"];
    let image = format!("wharf-test/node:{}", recipe(&files)?);
    provide(bed, &[&image], "node", "node-image.sh", &[&image], &files)?;
    Ok(image)
}

/// The node images for minikube, if they are not minikube's own. They are made from kind's.
pub(super) fn minikube_nodes(bed: &Bed) -> Result<Option<MinikubeImages>> {
    if online(bed)? && !engine::is_bounded(bed) {
        return Ok(None);
    }
    let from = kind_node(bed)?;
    take_node_programs(bed, &from)?;
    let files = [
        "minikube-image.sh",
        "minikube.sh",
        "node-image.sh",
        "oci.sh",
        "versions.sh",
        "node",
    ];
    let containerd = format!("wharf-test/minikube:{}", recipe(&files)?);
    let docker = format!("{containerd}-docker");
    provide(
        bed,
        &[&containerd, &docker],
        "minikube",
        "minikube-image.sh",
        &[&containerd, &from],
        &files,
    )?;
    Ok(Some(MinikubeImages { containerd, docker }))
}

/// Copies what minikube's nodes need out of kind's node image: an engine may have had that image since before this bed was made.
fn take_node_programs(bed: &Bed, image: &str) -> Result<()> {
    let kept = bed.node_files();
    let stamp = kept.join("image");
    if std::fs::read_to_string(&stamp).is_ok_and(|of| of == image) {
        return Ok(());
    }
    std::fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    step("taking the node's programs out of its image", || {
        let container = bed.docker(&["create", image], LONG)?;
        let container = container.trim();
        let copied = NODE_FILES.iter().try_for_each(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            let to = kept.join(name);
            // Links to an older one are other clusters'.
            let _ = std::fs::remove_file(&to);
            let from = format!("{container}:{path}");
            bed.docker(&["cp", &from, &to.to_string_lossy()], LONG)
                .map(drop)
        });
        bed.docker(&["rm", "--volumes", container], QUICK)?;
        copied
    })?;
    std::fs::write(&stamp, image).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Whether the engine reaches an image registry. The engine itself is asked, since proxies and mirrors are its own settings. Found out
/// once and remembered for an hour, so that parallel and repeated runs neither wait nor differ.
fn online(bed: &Bed) -> Result<bool> {
    match std::env::var("WHARF_BED_NETWORK").as_deref() {
        Ok("online") => return Ok(true),
        Ok("offline") => return Ok(false),
        Ok(other) => bail!("WHARF_BED_NETWORK is `{other}`: it can be `online` or `offline`"),
        Err(_) => {}
    }
    let remembered = bed.dir().join("network");
    let fresh = |age: Duration| age < Duration::from_secs(3600);
    if remembered
        .metadata()
        .and_then(|m| m.modified())
        .is_ok_and(|then| SystemTime::now().duration_since(then).is_ok_and(fresh))
    {
        return Ok(std::fs::read_to_string(&remembered)? == "online");
    }
    let had = present(bed, PROBE)?;
    let pulled = bed.docker(&["pull", "--quiet", PROBE], Duration::from_secs(15));
    if pulled.is_ok() && !had {
        bed.docker(&["rmi", PROBE], QUICK)?;
    }
    if let Err(why) = &pulled {
        say(&format!(
            "bed: no image registry can be reached, images come from Debian's packages and Go modules ({})",
            last_line(why)
        ));
    }
    let found = if pulled.is_ok() { "online" } else { "offline" };
    std::fs::write(&remembered, found)
        .with_context(|| format!("cannot write {}", remembered.display()))?;
    Ok(pulled.is_ok())
}

fn last_line(error: &anyhow::Error) -> String {
    command::tail(&format!("{error:#}"), 1)
}

fn present(bed: &Bed, image: &str) -> Result<bool> {
    Ok(command::finish(
        bed.command("docker").args(["image", "inspect", image]),
        QUICK,
    )?
    .status
    .success())
}

fn all_present(bed: &Bed, images: &[&str]) -> Result<bool> {
    for image in images {
        if !present(bed, image)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes images available that `script` can make from the files of their recipe. They are kept as a file: to load that takes seconds,
/// and works for an engine that has never seen them.
fn provide(
    bed: &Bed,
    images: &[&str],
    family: &str,
    script: &str,
    arguments: &[&str],
    files: &[&str],
) -> Result<()> {
    let kept = bed
        .dir()
        .join("saved")
        .join(format!("{family}-{}.tar", recipe(files)?));
    if !all_present(bed, images)? {
        if load(bed, images, &kept)? {
            return Ok(());
        }
        if !root_debian() {
            bail!(
                "{} can be built only on Debian and as root, and no image registry can be reached to pull a published one. \
                 If that is wrong, set WHARF_BED_NETWORK=online",
                images.join(" and ")
            );
        }
        bed.script(script, arguments)?;
    }
    if kept.exists() {
        return Ok(());
    }
    let saved = bed.dir().join("saved");
    std::fs::create_dir_all(&saved)?;
    forget_older(&saved, family)?;
    // Renamed when complete, so that a run that is killed here leaves nothing that looks like an image.
    let partial = saved.join("partial");
    let what = format!("keeping {} for the next engine", images.join(" and "));
    step(&what, || {
        let partial = partial.to_string_lossy();
        let save = ["save", "--output", &partial];
        bed.docker(&[&save, images].concat(), LONG)
    })?;
    Ok(std::fs::rename(partial, &kept)?)
}

/// Loads kept images; `false` if there are none that can be loaded.
fn load(bed: &Bed, images: &[&str], kept: &Path) -> Result<bool> {
    if !kept.exists() {
        return Ok(false);
    }
    let loaded = step(&format!("loading {}", images.join(" and ")), || {
        bed.docker(
            &["load", "--quiet", "--input", &kept.to_string_lossy()],
            LONG,
        )
    });
    if let Err(error) = loaded {
        say(&format!(
            "bed: {} is damaged, what is in it is made again ({})",
            kept.display(),
            last_line(&error)
        ));
        std::fs::remove_file(kept)?;
        return Ok(false);
    }
    all_present(bed, images)
}

/// Deletes what earlier recipes for the same image made: it is large, and no run asks for it again.
fn forget_older(saved: &Path, family: &str) -> Result<()> {
    for entry in std::fs::read_dir(saved)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .rsplit_once('-')
            .is_some_and(|(other, _)| other == family)
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A short name for how an image is made: it changes whenever one of these files does, so that no stale image is ever used.
fn recipe(files: &[&str]) -> Result<String> {
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("bed");
    // FNV-1a: nobody attacks this, and it is the same on every machine and in every release.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |path: &Path| -> Result<()> {
        for byte in
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    };
    for file in files {
        let path = bed.join(file);
        if path.is_dir() {
            let mut inside: Vec<_> = std::fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            inside.sort();
            inside.iter().try_for_each(|path| add(path))?;
        } else {
            add(&path)?;
        }
    }
    Ok(format!("{hash:016x}"))
}
