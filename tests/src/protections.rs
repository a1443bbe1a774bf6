//! The list of what protects wharf, with the test that falls when it is taken away.
//!
//! `tests/protections.toml` has the list; `cargo run -p wharf-tests --bin protections` takes one after
//! the other away in a copy of the sources, and runs its test.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Folders that are no sources.
const LEFT_OUT: [&str; 2] = [".git", "target"];

/// One protection: how to take it away, and who has to notice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// What it is called.
    pub name: String,
    /// The test that must fail without it: `suite::module::test` for one of `tests/tests`,
    /// `package::module::test` for a crate's own.
    pub test: String,
    /// Further tests that must fail as well: of other faults against which it protects.
    #[serde(default)]
    and_tests: Vec<String>,
    file: PathBuf,
    find: String,
    replace: String,
    /// Further edits; most take only that one.
    #[serde(default)]
    also: Vec<Edit>,
}

/// Text to replace, which stands in its file once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: PathBuf,
    find: String,
    replace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    protection: Vec<Protection>,
}

/// How a test is run, and where it is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// What `cargo test` is told to choose its binary.
    pub arguments: Vec<String>,
    /// The test's path inside of that binary.
    pub path: String,
    /// Where sources of that binary are, from the checkout's root.
    folder: PathBuf,
}

/// The checkout that this was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The protections of a checkout; one that several tests need stands there with each.
///
/// # Errors
/// There is no list, or it is malformed, or has two of a name.
pub fn list(checkout: &Path) -> Result<Vec<Protection>> {
    let file = checkout.join("tests/protections.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let List { protection: list } =
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))?;
    let mut names = HashSet::new();
    for protection in &list {
        ensure!(
            names.insert(&protection.name),
            "there are two protections '{}'",
            protection.name
        );
    }
    let with_each = list.into_iter().flat_map(|protection| {
        let tests = [vec![protection.test.clone()], protection.and_tests.clone()].concat();
        tests.into_iter().map(move |test| Protection {
            test,
            ..protection.clone()
        })
    });
    Ok(with_each.collect())
}

impl Protection {
    /// The files that change when it is taken away, with their contents then.
    ///
    /// # Errors
    /// An edit does not apply: its file is missing, or has not the text, or has it more than once.
    pub fn removed(&self, checkout: &Path) -> Result<Vec<(PathBuf, String)>> {
        let mut edits = vec![Edit {
            file: self.file.clone(),
            find: self.find.clone(),
            replace: self.replace.clone(),
        }];
        edits.extend(self.also.iter().cloned());
        let mut changed: Vec<(PathBuf, String)> = Vec::new();
        for Edit {
            file,
            find,
            replace,
        } in edits
        {
            ensure!(
                find != replace,
                "an edit of {} does nothing",
                file.display()
            );
            let index = match changed.iter().position(|(other, _)| *other == file) {
                Some(index) => index,
                None => {
                    let text = fs::read_to_string(checkout.join(&file))
                        .with_context(|| format!("cannot read {}", file.display()))?;
                    changed.push((file.clone(), text));
                    changed.len() - 1
                }
            };
            let text = &mut changed[index].1;
            let count = text.matches(&find).count();
            ensure!(
                count == 1,
                "{} has {count} times, not once: {find:?}",
                file.display()
            );
            *text = text.replacen(&find, &replace, 1);
        }
        Ok(changed)
    }

    /// How its test is run.
    ///
    /// # Errors
    /// The test is named after no suite and no package.
    pub fn target(&self, checkout: &Path) -> Result<Target> {
        let (first, path) = self
            .test
            .split_once("::")
            .with_context(|| format!("'{}' is no path of a test", self.test))?;
        let suite = checkout.join("tests/tests").join(first);
        let (arguments, folder): (&[&str], _) = match first {
            _ if suite.join("main.rs").exists() => (
                &["--package", "wharf-tests", "--test", first],
                format!("tests/tests/{first}"),
            ),
            "wharf-registry" => (&["--package", first, "--lib"], "registry/src".to_owned()),
            "wharf-tests" => (&["--package", first, "--lib"], "tests/src".to_owned()),
            "wharf" => (
                &["--package", first, "--bin", first],
                "bootstrap/src".to_owned(),
            ),
            _ => bail!("'{first}' in '{}' is no suite and no package", self.test),
        };
        Ok(Target {
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            path: path.to_owned(),
            folder: folder.into(),
        })
    }

    /// Looks for the test in the sources.
    ///
    /// # Errors
    /// It is not there.
    pub fn find_test(&self, checkout: &Path) -> Result<()> {
        let target = self.target(checkout)?;
        let (modules, function) = target.path.rsplit_once("::").unwrap_or(("", &target.path));
        let modules: Vec<&str> = modules
            .split("::")
            .filter(|name| !name.is_empty())
            .collect();
        let head = format!("fn {function}(");
        // The innermost modules may be written inside of their parent's file.
        for depth in (0..=modules.len()).rev() {
            let folder = checkout
                .join(&target.folder)
                .join(modules[..depth].iter().collect::<PathBuf>());
            let candidates = match depth {
                0 => vec![folder.join("main.rs"), folder.join("lib.rs")],
                _ => vec![folder.with_extension("rs"), folder.join("mod.rs")],
            };
            for file in candidates {
                let text = fs::read_to_string(file).unwrap_or_default();
                let inside = modules[depth..]
                    .iter()
                    .all(|module| text.contains(&format!("mod {module} {{")));
                if inside && text.contains(&head) {
                    return Ok(());
                }
            }
        }
        bail!("there is no test '{}'", self.test)
    }
}

/// Makes `copy` hold the checkout's sources and no others, and touches nothing that is right
/// already: so the next build has little to do.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_sources(checkout: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy).with_context(|| format!("cannot make {}", copy.display()))?;
    let mut wanted = HashSet::new();
    for entry in fs::read_dir(checkout)? {
        let entry = entry?;
        let (from, to) = (entry.path(), copy.join(entry.file_name()));
        if from.is_dir() {
            let left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name)
                || from.join("CACHEDIR.TAG").exists();
            if left_out {
                continue;
            }
            copy_sources(&from, &to)?;
        } else {
            let contents = fs::read(&from)?;
            if fs::read(&to).ok().as_ref() != Some(&contents) {
                // With its mode: some are run.
                let _ = fs::remove_file(&to);
                fs::write(&to, contents)?;
                fs::set_permissions(&to, entry.metadata()?.permissions())?;
            }
        }
        wanted.insert(entry.file_name());
    }
    for entry in fs::read_dir(copy)? {
        let entry = entry?;
        if !wanted.contains(&entry.file_name()) {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that does not apply any more proves nothing.
    #[test]
    fn every_protection_can_be_taken_away_and_has_a_test() {
        let checkout = checkout();
        for protection in list(&checkout).unwrap() {
            let applied = protection.removed(&checkout).map(drop);
            let found = applied.and_then(|()| protection.find_test(&checkout));
            assert!(found.is_ok(), "'{}': {found:?}", protection.name);
        }
    }

    fn protection(find: &str, test: &str) -> Protection {
        Protection {
            name: "one".to_owned(),
            test: test.to_owned(),
            file: "tests/src/protections.rs".into(),
            find: find.to_owned(),
            replace: "other".to_owned(),
            and_tests: Vec::new(),
            also: Vec::new(),
        }
    }

    #[test]
    fn what_does_not_apply_is_told() {
        let test = "wharf-tests::protections::tests::what_does_not_apply_is_told";
        let checkout = checkout();
        // Written apart, lest it be found here as well.
        let once = format!("{}{}", "LEFT_OUT: [&str", "; 2]");
        assert!(protection(&once, test).removed(&checkout).is_ok());
        assert!(protection("let", test).removed(&checkout).is_err());
        assert!(
            protection(&"nowhere".repeat(2), test)
                .removed(&checkout)
                .is_err()
        );

        assert!(protection("", test).find_test(&checkout).is_ok());
        for missing in [
            "wharf-tests::protections::tests::missing",
            "wharf-tests::missing::tests::what_does_not_apply_is_told",
            "missing::what_does_not_apply_is_told",
            "what_does_not_apply_is_told",
        ] {
            assert!(
                protection("", missing).find_test(&checkout).is_err(),
                "{missing}"
            );
        }
    }
}
