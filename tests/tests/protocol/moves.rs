//! What a push of a manifest may ask for beyond one tag: several, conditions, and what may be
//! missing.

use anyhow::Result;
use serde_json::json;
use wharf_tests::content::{self, INDEX, MANIFEST};
use wharf_tests::http::Connection;
use wharf_tests::wharf::Server;

use wharf_tests::talk::{ask, get, head, push, push_blobs, push_image, put, refuse, serve};

#[test]
fn one_push_moves_several_tags() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_blobs(&mut http, "a", "image")?;
    let digest = content::sha256(&manifest);
    let reference = format!("{digest}?tag=1.2.3&tag=1.2&tag=latest");
    let answer = ask(&mut http, 201, put("a", &reference, MANIFEST, &manifest))?;
    let told: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("OCI-Tag"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(told, ["1.2.3", "1.2", "latest"]);
    let tags = ask(&mut http, 200, get("/v2/a/tags/list"))?;
    assert_eq!(tags.json()?["tags"], json!(["1.2", "1.2.3", "latest"]));

    let bad = put(
        "a",
        &format!("{digest}?tag=ok&tag=.bad"),
        MANIFEST,
        &manifest,
    );
    refuse(&mut http, 400, "MANIFEST_INVALID", bad)?;
    ask(&mut http, 404, head("/v2/a/manifests/ok"))?;
    let tags: String = (0..101).map(|number| format!("&tag=t{number}")).collect();
    let many = put(
        "a",
        &format!("{digest}?{}", &tags[1..]),
        MANIFEST,
        &manifest,
    );
    refuse(&mut http, 414, "SIZE_INVALID", many)?;
    Ok(())
}

#[test]
fn a_tag_moves_only_from_what_the_push_expects() -> Result<()> {
    let (_server, mut http) = serve()?;
    let one = push_image(&mut http, "a", "v1")?;
    let two = push_blobs(&mut http, "a", "two")?;
    let old = ask(&mut http, 200, head("/v2/a/manifests/v1"))?;
    let old = old.header("ETag").unwrap_or_default().to_owned();
    assert_eq!(old, format!("\"{}\"", content::sha256(&one)));

    let taken = put("a", "v1", MANIFEST, &two).header("If-None-Match", "*");
    refuse(&mut http, 412, "DENIED", taken)?;
    let stale = format!("\"{}\"", content::sha256(b"something else"));
    let lost = put("a", "v1", MANIFEST, &two).header("If-Match", stale);
    refuse(&mut http, 412, "DENIED", lost)?;
    // What was refused is not stored either.
    let path = format!("/v2/a/manifests/{}", content::sha256(&two));
    ask(&mut http, 404, head(path))?;

    let won = put("a", "v1", MANIFEST, &two).header("If-Match", old);
    ask(&mut http, 201, won)?;
    assert_eq!(ask(&mut http, 200, get("/v2/a/manifests/v1"))?.body, two);
    let new = put("a", "v2", MANIFEST, &one).header("If-None-Match", "*");
    ask(&mut http, 201, new)?;
    let absent = put("a", "v3", MANIFEST, &one).header("If-Match", "*");
    refuse(&mut http, 412, "DENIED", absent)?;
    Ok(())
}

#[test]
fn two_pushers_cannot_both_win() -> Result<()> {
    let (server, mut http) = serve()?;
    let start = push_image(&mut http, "a", "v1")?;
    let expected = format!("\"{}\"", content::sha256(&start));
    let contenders: Vec<Vec<u8>> = (0..8)
        .map(|number| push_blobs(&mut http, "a", &format!("contender {number}")))
        .collect::<Result<_>>()?;
    let address = server.address();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let pushes: Vec<_> = contenders
            .iter()
            .map(|manifest| {
                let expected = expected.clone();
                scope.spawn(move || -> Result<u16> {
                    let push = put("a", "v1", MANIFEST, manifest).header("If-Match", expected);
                    Ok(Connection::open(address)?.send(push)?.status)
                })
            })
            .collect();
        pushes
            .into_iter()
            .map(|push| {
                push.join()
                    .unwrap_or_else(|_| anyhow::bail!("a pusher panicked"))
            })
            .collect::<Result<_>>()
    })?;
    let won = statuses.iter().filter(|status| **status == 201).count();
    let lost = statuses.iter().filter(|status| **status == 412).count();
    assert_eq!((won, lost), (1, 7), "{statuses:?}");
    Ok(())
}

#[test]
fn a_sparse_index_is_taken_with_a_warning() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = push_image(&mut http, "a", "v1")?;
    let listed = [
        content::descriptor(MANIFEST, &image),
        content::descriptor(MANIFEST, b"for another platform"),
    ];
    let whole = content::index(&listed[..1]);
    let sparse = content::index(&listed);
    let answer = ask(&mut http, 201, put("a", "whole", INDEX, &whole))?;
    assert_eq!(answer.header("Warning"), None);
    let answer = ask(&mut http, 201, put("a", "sparse", INDEX, &sparse))?;
    let warning = answer.header("Warning").unwrap_or_default();
    let text = warning.strip_prefix("299 - \"");
    let text = text.and_then(|text| text.strip_suffix('"'));
    let text = text.unwrap_or_default();
    // Nothing behind the text, where a date might stand.
    assert!(
        text.contains("1 of the manifests") && !text.contains('"'),
        "{warning}"
    );
    // In all, with the longest name.
    let answer = ask(&mut http, 201, put(&"a".repeat(255), "v1", INDEX, &sparse))?;
    let warnings = answer.headers.iter();
    let warnings = warnings.filter(|(name, _)| name.eq_ignore_ascii_case("Warning"));
    let bytes: usize = warnings.map(|(_, value)| value.len()).sum();
    assert!((1..=4096).contains(&bytes), "{bytes} bytes of warnings");
    Ok(())
}

#[test]
fn sparse_images_are_taken_where_the_operator_says_so() -> Result<()> {
    let server = Server::start_with(["--allow-missing-blobs"])?;
    let mut http = Connection::open(server.address())?;
    let config = b"{}";
    push(&mut http, "a", config)?;
    let layer = content::descriptor(content::LAYER, b"to come");
    let image = content::manifest(&content::descriptor(content::CONFIG, config), &[layer]);
    let answer = ask(&mut http, 201, put("a", "v1", MANIFEST, &image))?;
    let warning = answer.header("Warning").unwrap_or_default();
    assert!(warning.contains("1 of this manifest's blobs"), "{warning}");

    // Once it has come it belongs to the manifest, which keeps it from being deleted.
    let digest = push(&mut http, "a", b"to come")?;
    let delete = wharf_tests::http::Request::new("DELETE", format!("/v2/a/blobs/{digest}"));
    refuse(&mut http, 409, "DENIED", delete)?;
    Ok(())
}
