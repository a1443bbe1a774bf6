//! Plans, from what was asked for and what was found.

use super::*;

fn desired() -> Desired {
    Desired {
        name: "dev".parse().unwrap(),
        provider: Provider::Kind,
        port: None,
        nodes: None,
        storage: None,
        kubernetes_image: None,
        arguments: Vec::new(),
        adopts: false,
        image: None,
    }
}

fn node(name: &str, is_running: bool) -> Node {
    Node {
        name: name.into(),
        id: name.into(),
        is_running,
        created: 0,
        data: Some("/data".into()),
    }
}

fn remembered() -> Remembered {
    Remembered {
        storage: Storage::Host,
        data: "/data".into(),
        port: Some(5055),
        nodes: Some(2),
        kubernetes_image: Some("node:1".into()),
        arguments: Vec::new(),
    }
}

fn ours() -> Ours {
    Ours {
        port: 5055,
        data: "/data".into(),
        nodes: vec![node("dev-control-plane", true), node("dev-worker", true)],
        has_context: true,
        is_proved: true,
        ..Ours::default()
    }
}

fn steps(desired: &Desired, found: Found) -> String {
    let plan = plan(desired, found).unwrap();
    let titles = plan
        .steps
        .iter()
        .map(|step| step.title(&desired.name, plan.port))
        .collect::<Vec<_>>()
        .join("\n");
    format!(
        "port {}, {} nodes, data {}\n{titles}",
        plan.port,
        plan.nodes,
        plan.storage.place(&plan.data)
    )
}

#[test]
fn from_nothing() {
    insta::assert_snapshot!(steps(
        &desired(),
        Found::Nothing(Remembered {
            data: "/home/ann/images".into(),
            ..Remembered::default()
        })
    ));
}

#[test]
fn from_a_half_made_cluster_with_other_wishes() {
    let desired = Desired {
        port: Some(5001),
        nodes: Some(3),
        storage: Some(Wanted::Host("/mnt/images".into())),
        image: Some("example.com/wharf:1".into()),
        ..desired()
    };
    insta::assert_snapshot!(steps(&desired, Found::HalfMade(remembered())));
}

#[test]
fn an_unfinished_run_is_completed_as_it_was_wished() {
    let plan = plan(&desired(), Found::HalfMade(remembered())).unwrap();
    assert_eq!((plan.port, plan.nodes), (5055, 2));
    assert_eq!(plan.data, PathBuf::from("/data"));
    assert_eq!(plan.kubernetes_image.as_deref(), Some("node:1"));
}

#[test]
fn a_cluster_that_is_right_is_only_looked_at() {
    insta::assert_snapshot!(steps(&desired(), Found::Ours(ours())));
}

#[test]
fn a_cluster_is_repaired_where_it_needs_it() {
    let broken = Ours {
        without_image: vec!["dev-worker".into()],
        without_hosts: vec!["dev-control-plane".into()],
        has_context: false,
        is_proved: false,
        ..ours()
    };
    insta::assert_snapshot!(steps(&desired(), Found::Ours(broken)));
}

#[test]
fn stopped_nodes_are_started_and_looked_at_as_a_whole() {
    let stopped = Ours {
        nodes: vec![node("dev-control-plane", false), node("dev-worker", true)],
        ..ours()
    };
    insta::assert_snapshot!(steps(&desired(), Found::Ours(stopped)));
}

#[test]
fn nodes_with_a_docker_engine_are_told_nothing() {
    let desired = Desired {
        provider: Provider::Minikube,
        arguments: vec!["--container-runtime=docker".into()],
        ..desired()
    };
    let stopped = Ours {
        nodes: vec![node("dev", false)],
        arguments: desired.arguments.clone(),
        ..ours()
    };
    let nothing = Remembered {
        arguments: Vec::new(),
        ..remembered()
    };
    for found in [Found::Nothing(nothing), Found::Ours(stopped)] {
        let plan = plan(&desired, found).unwrap();
        let tells = plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::WriteHosts(_)));
        assert!(!tells, "{:?}", plan.steps);
    }
}

#[test]
fn what_a_cluster_has_cannot_be_changed_under_it() {
    let asks = [
        Desired {
            port: Some(5000),
            ..desired()
        },
        Desired {
            nodes: Some(3),
            ..desired()
        },
        Desired {
            storage: Some(Wanted::Host("/other".into())),
            ..desired()
        },
        Desired {
            storage: Some(Wanted::Pvc),
            ..desired()
        },
        Desired {
            storage: Some(Wanted::EmptyDir),
            ..desired()
        },
    ];
    for asked in asks {
        let error = plan(&asked, Found::Ours(ours())).unwrap_err();
        assert_eq!(Code::of(&error), Code::Conflict);
        assert!(
            error.to_string().contains("wharf down --name dev"),
            "{error}"
        );
    }
    let same = Desired {
        port: Some(5055),
        nodes: Some(2),
        storage: Some(Wanted::Host("/data".into())),
        ..desired()
    };
    assert!(plan(&same, Found::Ours(ours())).is_ok());
}

#[test]
fn a_foreign_cluster_is_left_alone() {
    let error = plan(&desired(), Found::Foreign(ours())).unwrap_err();
    assert_eq!(Code::of(&error), Code::Conflict);
}

#[test]
fn a_foreign_cluster_is_adopted_when_it_is_asked_for() {
    let adopts = Desired {
        adopts: true,
        ..desired()
    };
    let found = Ours {
        is_adopted: true,
        port: DEFAULT_PORT,
        without_image: vec!["dev-control-plane".into(), "dev-worker".into()],
        is_proved: false,
        ..ours()
    };
    insta::assert_snapshot!(steps(&adopts, Found::Foreign(found.clone())));
    assert!(plan(&adopts, Found::Ours(found)).is_ok());
    for found in [Found::Ours(ours()), Found::Nothing(remembered())] {
        let error = plan(&adopts, found).unwrap_err();
        assert_eq!(Code::of(&error), Code::NotFound);
    }
}

/// A context is named, and with it wharf's image.
fn existing() -> Desired {
    Desired {
        name: "k3d-dev".parse().unwrap(),
        provider: Provider::Existing,
        adopts: true,
        image: Some("example.com/wharf:1".into()),
        ..desired()
    }
}

/// What is behind it, in which wharf has never been.
fn untouched() -> Ours {
    Ours {
        is_adopted: true,
        port: DEFAULT_PORT,
        storage: Storage::Pvc,
        nodes: vec![node("server-0", true), node("agent-0", true)],
        has_context: true,
        ..Ours::default()
    }
}

#[test]
fn an_existing_context_gets_a_registry() {
    let found = Found::Foreign(untouched());
    insta::assert_snapshot!(steps(&existing(), found.clone()));
    let plan = plan(&existing(), found).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
}

#[test]
fn an_existing_context_that_is_right_is_only_looked_at() {
    let again = Desired {
        image: None,
        ..existing()
    };
    let ours = Ours {
        image: Some("example.com/wharf:1".into()),
        is_proved: true,
        ..untouched()
    };
    insta::assert_snapshot!(steps(&again, Found::Ours(ours)));
}

#[test]
fn an_existing_context_needs_an_image() {
    let without = Desired {
        image: None,
        ..existing()
    };
    for found in [Found::Foreign(untouched()), Found::Ours(untouched())] {
        let error = plan(&without, found).unwrap_err();
        assert_eq!(Code::of(&error), Code::Usage);
        assert!(error.to_string().contains("--image"), "{error}");
    }
}

#[test]
fn a_directory_of_a_node_pins_the_registry_to_it() {
    let asked = Desired {
        storage: Some(Wanted::Host("/srv/images".into())),
        ..existing()
    };
    let made = plan(&asked, Found::Foreign(untouched())).unwrap();
    assert_eq!(made.node.as_deref(), Some("server-0"));
    assert_eq!(made.data, PathBuf::from("/srv/images"));
    // Later it is the one that has the images, whichever is the first by then.
    let ours = Ours {
        storage: Storage::Host,
        data: "/srv/images".into(),
        node: Some("agent-0".into()),
        ..untouched()
    };
    let again = plan(&asked, Found::Ours(ours.clone())).unwrap();
    assert_eq!(again.node.as_deref(), Some("agent-0"));
    let lost = Ours {
        node: Some("agent-7".into()),
        ..ours
    };
    let error = plan(&asked, Found::Ours(lost)).unwrap_err();
    assert_eq!(Code::of(&error), Code::Conflict);
    assert!(error.to_string().contains("node agent-7"), "{error}");
}

#[test]
fn a_directory_of_a_node_is_named_from_the_root_on() {
    for bad in ["images", "/", "/srv/..", "../srv"] {
        let asked = Desired {
            storage: Some(Wanted::Host(bad.into())),
            ..existing()
        };
        let error = plan(&asked, Found::Foreign(untouched())).unwrap_err();
        assert_eq!(Code::of(&error), Code::Usage, "{bad}");
    }
}

#[test]
fn storage_of_each_kind_is_kept() {
    let kinds = [
        (Storage::Pvc, Wanted::Pvc),
        (Storage::EmptyDir, Wanted::EmptyDir),
        (Storage::Host, Wanted::Host("/srv/images".into())),
    ];
    for (storage, same) in &kinds {
        let ours = Ours {
            storage: *storage,
            data: same.directory().map(Path::to_owned).unwrap_or_default(),
            ..untouched()
        };
        for (_, wanted) in &kinds {
            let asked = Desired {
                storage: Some(wanted.clone()),
                ..existing()
            };
            let planned = plan(&asked, Found::Ours(ours.clone()));
            match wanted == same {
                true => assert_eq!(planned.unwrap().storage, *storage),
                false => assert_eq!(Code::of(&planned.unwrap_err()), Code::Conflict),
            }
        }
    }
}

#[test]
fn a_cluster_of_wharfs_may_keep_its_images_elsewhere() {
    let asked = Desired {
        storage: Some(Wanted::EmptyDir),
        ..desired()
    };
    // The directory is on the nodes all the same: it tells a half-made cluster of wharf's from others.
    let plan = plan(&asked, Found::Nothing(remembered())).unwrap();
    assert_eq!(
        (plan.storage, plan.data),
        (Storage::EmptyDir, "/data".into())
    );
}
