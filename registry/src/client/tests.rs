//! The client against the server of this crate.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::registry;
use crate::server::Server;

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":CONFIG,"layers":[]}"#;

/// A registry in a directory of its own, for as long as the test holds the sender.
async fn registry() -> (Client, tempfile::TempDir, oneshot::Sender<()>) {
    let directory = tempfile::tempdir().unwrap();
    let (registry, lock) = registry::open(
        directory.path(),
        Duration::ZERO,
        registry::Settings::default(),
    )
    .await
    .unwrap();
    let server = Server::listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let client = Client::new(server.addresses()[0]);
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.run(Arc::new(registry), stopped).await;
        drop(lock);
    });
    (client, directory, stop)
}

#[tokio::test]
async fn what_is_pushed_comes_back() {
    let (client, _directory, _stop) = registry().await;
    let name: Name = "team/app".parse().unwrap();
    let tag: Reference = "1".parse().unwrap();
    // Larger than one piece of an upload.
    let blob = Bytes::from(vec![7; 700_000]);
    let digest = Digest::sha256(&blob);
    client
        .push_blob(&name, &digest, blob.clone())
        .await
        .unwrap();
    client
        .push_blob(&name, &digest, blob.clone())
        .await
        .unwrap();
    assert_eq!(client.pull_blob(&name, &digest).await.unwrap(), blob);

    assert!(!client.has_manifest(&name, &tag).await.unwrap());
    let config = format!(
        r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":700000}}"#
    );
    let manifest = Bytes::from(MANIFEST.replace("CONFIG", &config));
    client
        .push_manifest(&name, &tag, MediaType::OCI_MANIFEST, manifest.clone())
        .await
        .unwrap();
    assert!(client.has_manifest(&name, &tag).await.unwrap());
    assert_eq!(client.pull_manifest(&name, &tag).await.unwrap(), manifest);
    let by_digest = Reference::Digest(Digest::sha256(&manifest));
    assert_eq!(
        client.pull_manifest(&name, &by_digest).await.unwrap(),
        manifest
    );
}

#[tokio::test]
async fn refusals_say_what_the_registry_said() {
    let (client, _directory, _stop) = registry().await;
    let name: Name = "team/app".parse().unwrap();
    let wrong = Digest::sha256(b"something else");
    let error = client
        .push_blob(&name, &wrong, Bytes::from_static(b"this"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::Refused {
                status: StatusCode::BAD_REQUEST,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    let missing = client
        .pull_manifest(&name, &"nope".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(
            missing,
            ClientError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }
        ),
        "{missing}"
    );
}

#[tokio::test]
async fn nobody_there_is_an_error_that_says_where() {
    let nowhere = Client::new("127.0.0.1:1".parse().unwrap());
    let error = nowhere
        .has_manifest(&"a".parse().unwrap(), &"b".parse().unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn locations_are_relative_or_absolute() {
    assert_eq!(
        path_of("/v2/a/blobs/uploads/1?s=2").as_deref(),
        Some("/v2/a/blobs/uploads/1?s=2")
    );
    assert_eq!(path_of("http://host:5000/v2/x").as_deref(), Some("/v2/x"));
    assert_eq!(path_of(""), None);
}

#[test]
fn a_refusal_repeats_the_registrys_words() {
    let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#;
    let answer = Response::builder()
        .status(404)
        .body(Bytes::from_static(body))
        .unwrap();
    let error = accept(answer, Method::GET, "/v2/a/tags/list", &[StatusCode::OK]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the registry answered 404 Not Found to GET /v2/a/tags/list: NAME_UNKNOWN no such repository"
    );
}
