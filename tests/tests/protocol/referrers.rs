//! Who refers to a manifest, and the list of repositories.

use anyhow::Result;
use serde_json::{Value, json};
use wharf_tests::content::{self, CONFIG, INDEX, MANIFEST};
use wharf_tests::http::Connection;

use wharf_tests::talk::{ask, get, push, push_image, put, refuse, serve};

/// An artifact that refers to `subject`, pushed, with its digest.
fn refer(http: &mut Connection, subject: &Value, kind: &str, note: &str) -> Result<String> {
    push(http, "a", b"{}")?;
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": content::descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [],
        "subject": subject,
        "annotations": {"note": note},
    });
    let bytes = artifact.to_string().into_bytes();
    let digest = content::sha256(&bytes);
    let answer = ask(http, 201, put("a", &digest, MANIFEST, &bytes))?;
    assert_eq!(answer.header("OCI-Subject"), subject["digest"].as_str());
    Ok(digest)
}

fn digests(list: &Value) -> Vec<&str> {
    let manifests = list["manifests"].as_array().map(Vec::as_slice);
    let digest = |one: &'_ Value| one["digest"].as_str().map(str::len);
    assert!(
        manifests
            .unwrap_or_default()
            .iter()
            .all(|one| digest(one) == Some(71))
    );
    manifests
        .unwrap_or_default()
        .iter()
        .filter_map(|one| one["digest"].as_str())
        .collect()
}

#[test]
fn what_names_a_subject_is_listed() -> Result<()> {
    let (_server, mut http) = serve()?;
    let subject = content::descriptor(MANIFEST, b"pushed after its referrers, or never");
    let path = format!(
        "/v2/a/referrers/{}",
        subject["digest"].as_str().unwrap_or_default()
    );
    // Nobody refers to what is not there, in a repository that is not there.
    let none = ask(&mut http, 200, get(&path))?;
    assert_eq!(none.json()?["manifests"], json!([]));

    let one = refer(&mut http, &subject, "application/vnd.example.one", "1")?;
    let two = refer(&mut http, &subject, "application/vnd.example.two", "2")?;
    let answer = ask(&mut http, 200, get(&path))?;
    assert_eq!(answer.header("Content-Type"), Some(INDEX));
    assert_eq!(answer.header("OCI-Filters-Applied"), None);
    let list = answer.json()?;
    let mut both = [one.as_str(), two.as_str()];
    both.sort_unstable();
    assert_eq!(digests(&list), both);
    let described = list["manifests"]
        .as_array()
        .and_then(|all| all.iter().find(|item| item["digest"] == *one));
    let described = described.cloned().unwrap_or_default();
    assert_eq!(described["artifactType"], "application/vnd.example.one");
    assert_eq!(described["annotations"], json!({"note": "1"}));
    assert_eq!(described["mediaType"], MANIFEST);

    let filtered = get(format!("{path}?artifactType=application%2Fvnd.example.two"));
    let answer = ask(&mut http, 200, filtered)?;
    assert_eq!(answer.header("OCI-Filters-Applied"), Some("artifactType"));
    assert_eq!(digests(&answer.json()?), [two.as_str()]);

    refuse(
        &mut http,
        400,
        "DIGEST_INVALID",
        get("/v2/a/referrers/sha256:x"),
    )?;
    Ok(())
}

#[test]
fn lists_come_in_pages_that_lead_on() -> Result<()> {
    let (_server, mut http) = serve()?;
    let subject = content::descriptor(MANIFEST, b"subject");
    let mut all = Vec::new();
    for note in ["1", "2", "3", "4", "5"] {
        all.push(refer(&mut http, &subject, "application/vnd.example", note)?);
    }
    all.sort();
    let digest = subject["digest"].as_str().unwrap_or_default();
    let mut next = Some(format!(
        "/v2/a/referrers/{digest}?n=2&artifactType=application%2Fvnd.example"
    ));
    let mut seen = Vec::new();
    while let Some(path) = next {
        let answer = ask(&mut http, 200, get(path))?;
        let list = answer.json()?;
        assert!(digests(&list).len() <= 2);
        seen.extend(digests(&list).into_iter().map(str::to_owned));
        next = answer.next_page()?;
    }
    assert_eq!(seen, all);
    Ok(())
}

/// Before registries listed referrers, clients kept the list themselves, under a tag.
#[test]
fn what_clients_listed_under_the_fallback_tag_is_listed_too() -> Result<()> {
    let (_server, mut http) = serve()?;
    let subject = content::descriptor(MANIFEST, b"subject");
    let declared = refer(&mut http, &subject, "application/vnd.example.one", "1")?;
    let silent = push_image(&mut http, "a", "silent")?;
    let gone = content::descriptor(MANIFEST, b"never pushed");
    let list = content::index(&[content::descriptor(MANIFEST, &silent), gone]);
    let digest = subject["digest"].as_str().unwrap_or_default();
    let tag = digest.replace(':', "-");
    ask(&mut http, 201, put("a", &tag, INDEX, &list))?;

    let answer = ask(&mut http, 200, get(format!("/v2/a/referrers/{digest}")))?;
    let mut expected = [declared, content::sha256(&silent)];
    expected.sort();
    assert_eq!(digests(&answer.json()?), expected);

    // A tag has no room for longer digests: they are cut.
    let long = content::sha512(b"subject");
    let digits = long.trim_start_matches("sha512:");
    let tag = format!("sha512-{}", &digits[..64]);
    ask(&mut http, 201, put("a", &tag, INDEX, &list))?;
    let answer = ask(&mut http, 200, get(format!("/v2/a/referrers/{long}")))?;
    assert_eq!(digests(&answer.json()?), [content::sha256(&silent)]);
    Ok(())
}

#[test]
fn an_image_without_artifact_type_is_listed_by_its_config() -> Result<()> {
    let (_server, mut http) = serve()?;
    push(&mut http, "a", b"{}")?;
    let subject = content::descriptor(MANIFEST, b"subject");
    let image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "subject": subject, "layers": [],
        "config": content::descriptor(CONFIG, b"{}")});
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "subject": subject, "manifests": []});
    for (kind, document) in [(MANIFEST, image), (INDEX, index)] {
        ask(
            &mut http,
            201,
            put(
                "a",
                kind.rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches("+json"),
                kind,
                document.to_string().as_bytes(),
            ),
        )?;
    }
    let path = format!(
        "/v2/a/referrers/{}",
        subject["digest"].as_str().unwrap_or_default()
    );
    let list = ask(&mut http, 200, get(path))?.json()?;
    for one in list["manifests"].as_array().into_iter().flatten() {
        let expected = if one["mediaType"] == MANIFEST {
            json!(CONFIG)
        } else {
            Value::Null
        };
        assert_eq!(one["artifactType"], expected, "{one}");
    }
    assert_eq!(digests(&list).len(), 2);
    Ok(())
}

#[test]
fn repositories_with_something_in_them_are_listed() -> Result<()> {
    let (_server, mut http) = serve()?;
    for name in ["b", "a/x", "a"] {
        push_image(&mut http, name, "v1")?;
    }
    push(&mut http, "only-a-blob", b"blob")?;
    let all = ask(&mut http, 200, get("/v2/_catalog"))?;
    assert_eq!(all.json()?, json!({"repositories": ["a", "a/x", "b"]}));
    let page = ask(&mut http, 200, get("/v2/_catalog?n=1&last=a"))?;
    assert_eq!(page.json()?["repositories"], json!(["a/x"]));
    assert_eq!(
        page.header("Link"),
        Some("</v2/_catalog?n=1&last=a%2Fx>; rel=\"next\"")
    );
    Ok(())
}
