//! Collection between everything else, in random order: what was listed as garbage is taken later, and by
//! then some of it is none any more.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::super::{Collected, LooseBlob, NewManifest};
use super::{delete, loose, write};
use crate::blobs::UploadId;
use crate::oci::{Digest, Manifest, Name};

const SEEDS: u64 = 50;
const STEPS: u64 = 150;

type Membership = (u64, u64);

/// The catalog, and what should be in it.
struct Schedule {
    random: u64,
    now: i64,
    catalog: Connection,
    members: BTreeSet<Membership>,
    /// The two blobs of each.
    manifests: BTreeSet<(u64, [u64; 2])>,
    listed: Vec<LooseBlob>,
    /// What was pushed, mounted, asked for or needed since that list was made.
    used: BTreeSet<Membership>,
    /// How often something was taken, and how often not although it was listed.
    taken: usize,
    spared: usize,
}

#[test]
fn what_came_into_use_since_it_was_listed_is_not_taken() {
    let (mut taken, mut spared) = (0, 0);
    for seed in 0..SEEDS {
        let mut schedule = Schedule::new(seed);
        for step in 0..STEPS {
            schedule.step();
            assert_eq!(
                schedule.stored(),
                schedule.members,
                "seed {seed}, step {step}"
            );
        }
        taken += schedule.taken;
        spared += schedule.spared;
    }
    assert!(
        taken > 100 && spared > 100,
        "{taken} taken, {spared} spared"
    );
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let catalog = Connection::open_in_memory().unwrap();
        catalog.pragma_update(None, "foreign_keys", true).unwrap();
        catalog.set_prepared_statement_cache_capacity(64);
        catalog.execute_batch(include_str!("schema.sql")).unwrap();
        Self {
            random: seed,
            now: 1000,
            catalog,
            members: BTreeSet::new(),
            manifests: BTreeSet::new(),
            listed: Vec::new(),
            used: BTreeSet::new(),
            taken: 0,
            spared: 0,
        }
    }

    /// One transaction of a client or of the collector. Within a second there may be some.
    fn step(&mut self) {
        self.now += i64::try_from(self.below(2)).unwrap();
        let (repository, one, other) = (self.below(2), self.below(4), self.below(4));
        let membership = (repository, one);
        let (name, blob) = (name(repository), digest(one));
        let choice = self.below(12);
        let (catalog, now) = (&self.catalog, self.now);
        match choice {
            0..=2 | 11 => {
                let upload = UploadId::random().unwrap();
                write::add_blob(catalog, &name, &blob, 1, &upload, now).unwrap();
                self.members.insert(membership);
                self.used.insert(membership);
            }
            3 => {
                if write::mount(catalog, &name, &blob, None, now).unwrap() {
                    self.members.insert(membership);
                    self.used.insert(membership);
                }
            }
            4 => {
                loose::write_uses(catalog, &[(name, blob, now)]).unwrap();
                self.used.insert(membership);
            }
            5..=6 => {
                let needed = [one, other].map(|blob| (repository, blob));
                catalog.execute_batch("SAVEPOINT push").unwrap();
                let pushed =
                    write::push_manifest(catalog, &name, &manifest(one, other), now).is_ok();
                assert_eq!(pushed, needed.iter().all(|one| self.members.contains(one)));
                if pushed {
                    self.manifests.insert((repository, [one, other]));
                    self.used.extend(needed);
                } else {
                    catalog.execute_batch("ROLLBACK TO push").unwrap();
                }
                catalog.execute_batch("RELEASE push").unwrap();
            }
            7 => {
                delete::manifest(catalog, &name, &manifest(one, other).digest, now).unwrap();
                if self.manifests.remove(&(repository, [one, other])) {
                    self.used.extend([(repository, one), (repository, other)]);
                }
            }
            8 => {
                delete::blob(catalog, &name, &blob).unwrap();
                if !self.is_needed(membership) {
                    self.members.remove(&membership);
                }
            }
            9 => {
                self.listed = loose::list(catalog, now, None, 100).unwrap();
                self.used.clear();
            }
            _ => {
                let listed = std::mem::take(&mut self.listed);
                let collected = loose::collect(catalog, &listed).unwrap();
                self.compare(&listed, &collected);
            }
        }
    }

    /// Takes away from the model what has to be gone, and looks at what goes from the disk.
    fn compare(&mut self, listed: &[LooseBlob], collected: &Collected) {
        let mut gone = 0;
        for loose in listed {
            let membership = (0..2)
                .flat_map(|repository| (0..4).map(move |blob| (repository, blob)))
                .find(|(r, b)| name(*r) == loose.repository && digest(*b) == loose.digest)
                .unwrap();
            if self.used.contains(&membership) || self.is_needed(membership) {
                self.spared += 1;
            } else if self.members.remove(&membership) {
                gone += 1;
            }
        }
        assert_eq!(collected.memberships, gone);
        for (location, _) in &collected.blobs {
            let needed = (self.members.iter()).any(|(_, blob)| digest(*blob) == location.digest);
            assert!(!needed, "the bytes of {} go", location.digest);
        }
        self.taken += gone;
    }

    fn is_needed(&self, (repository, blob): Membership) -> bool {
        let mut manifests = self.manifests.iter();
        manifests.any(|(of, blobs)| *of == repository && blobs.contains(&blob))
    }

    fn stored(&self) -> BTreeSet<Membership> {
        let mut query = self
            .catalog
            .prepare_cached(
                "SELECT repository.name, blob.digest FROM repository_blob
                 JOIN repository ON repository.id = repository_blob.repository
                 JOIN blob ON blob.id = repository_blob.blob",
            )
            .unwrap();
        let rows = query.query_map([], |row| {
            let (of, what): (String, String) = (row.get(0)?, row.get(1)?);
            let repository = (0..2).find(|number| name(*number).as_str() == of).unwrap();
            let blob = (0..4).find(|number| digest(*number).to_string() == what);
            Ok((repository, blob.unwrap()))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn name(repository: u64) -> Name {
    ["a", "b"][repository as usize].parse().unwrap()
}

fn digest(blob: u64) -> Digest {
    Digest::sha256(&blob.to_be_bytes())
}

fn manifest(one: u64, other: u64) -> NewManifest {
    let descriptor = |blob| serde_json::json!({"mediaType": "application/octet-stream", "digest": digest(blob).to_string(), "size": 1});
    let payload = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(one),
        "layers": [descriptor(other)],
    });
    let payload = serde_json::to_vec(&payload).unwrap();
    NewManifest {
        digest: Digest::sha256(&payload),
        manifest: Manifest::parse(None, &payload).unwrap(),
        payload: payload.into(),
        tags: Vec::new(),
        condition: None,
        may_be_sparse: false,
    }
}
