//! Tests of what the host remembers.

use super::*;

fn node(id: &str, created: i64, data: &str) -> Node {
    Node {
        name: "dev-control-plane".into(),
        id: id.into(),
        is_running: true,
        created,
        data: Some(data.into()),
    }
}

fn record(stage: Stage) -> Record {
    Record {
        name: "dev".parse().unwrap(),
        provider: Provider::Kind,
        stage,
        port: 5000,
        nodes: 1,
        storage: Storage::Host,
        data: "/data".into(),
        context: None,
        node: None,
        image: None,
        kubernetes_image: None,
        arguments: Vec::new(),
    }
}

#[test]
fn a_record_of_an_older_wharf_is_read() {
    let old = r#"{"name": "dev", "provider": "kind", "stage": {"is": "created", "firstNode": "a"}, "port": 5000, "nodes": 1, "data": "/data"}"#;
    let made = Stage::Created {
        first_node: "a".into(),
    };
    assert_eq!(serde_json::from_str::<Record>(old).unwrap(), record(made));
}

#[test]
fn records_are_told_from_other_files() {
    assert!(is_record(Path::new("/state/dev.json")));
    for other in ["dev.kind.json", "dev.json.new", "dev.lock", ".json"] {
        assert!(!is_record(&Path::new("/state").join(other)), "{other}");
    }
}

#[test]
fn only_a_half_made_cluster_of_ours_counts_as_half_made() {
    let intent = record(Stage::Intended { since: 1000 });
    assert!(intent.left_half_made(&[node("a", 1000, "/data"), node("b", 1003, "/host_mnt/data")]));
    assert!(
        !intent.left_half_made(&[node("a", 900, "/data")]),
        "older than the intent"
    );
    assert!(
        !intent.left_half_made(&[node("a", 1001, "/elsewhere")]),
        "another data directory"
    );
    assert!(!intent.left_half_made(&[]), "nothing");
    let deleted = |unfinished_since| record(Stage::Deleted { unfinished_since });
    assert!(
        deleted(Some(1000)).left_half_made(&[node("a", 1002, "/data")]),
        "it came after it was deleted"
    );
    let deleting = record(Stage::Deleting { since: 1000 });
    assert!(
        deleting.left_half_made(&[node("b", 1002, "/data")]) && deleting.is_of_something(),
        "one of its nodes is still there"
    );
    assert!(
        !deleting.left_half_made(&[node("b", 900, "/data")]),
        "not its node"
    );
    assert_eq!(
        deleting.unfinished_since(),
        None,
        "no engine comes with nodes of it"
    );
    assert!(
        !deleted(None).left_half_made(&[node("a", 1002, "/data")]),
        "deleted as a whole"
    );
    assert!(
        !record(Stage::Created {
            first_node: "a".into()
        })
        .left_half_made(&[node("a", 1001, "/data")]),
        "finished"
    );
}

#[test]
fn another_cluster_of_the_same_name_is_not_ours() {
    let made = record(Stage::Created {
        first_node: "a".into(),
    });
    assert!(made.is_of(&[node("a", 1, "/data")]));
    assert!(!made.is_of(&[node("b", 1, "/data")]));
}

#[test]
fn records_survive_and_a_second_program_waits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dev.json");
    let name: ClusterName = "dev".parse().unwrap();
    let lock = || lock_file(&lock_path(directory.path(), &name)).unwrap();
    let hold = |lock| Home {
        directory: directory.path().to_owned(),
        name: name.clone(),
        lock,
    };
    let first = lock();
    first.try_lock().unwrap();
    let home = hold(first);
    let written = record(Stage::Created {
        first_node: "a".into(),
    });
    assert_eq!(home.read().unwrap(), None);
    home.write(&written).unwrap();
    // A program that was given the lock keeps it when we are gone.
    let given = home.lock().unwrap();
    drop(home);
    assert!(matches!(lock().try_lock(), Err(TryLockError::WouldBlock)));
    drop(given);
    let last = lock();
    last.try_lock().unwrap();
    let home = hold(last);
    assert_eq!(home.read().unwrap(), Some(written));
    home.forget().unwrap();
    home.forget().unwrap();
    std::fs::write(&path, "{").unwrap();
    assert!(home.read().unwrap_err().to_string().contains("damaged"));
    home.forget().unwrap();
    drop(home);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn who_waited_for_a_purge_has_the_lock_that_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (directory, name) = (directory.path(), "dev".parse().unwrap());
    let hold = |wait| Home::hold_in(directory.to_owned(), &name, wait);
    let first = hold(Duration::ZERO).await.unwrap();
    let purge = async {
        // The other has opened the lock by now, and waits for it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.forget().unwrap();
        drop(first);
    };
    let (second, ()) = tokio::join!(hold(Duration::from_secs(60)), purge);
    let second = second.unwrap();
    assert!(is_at(&second.lock, &lock_path(directory, &name)));
    assert!(hold(Duration::ZERO).await.is_err());
}
