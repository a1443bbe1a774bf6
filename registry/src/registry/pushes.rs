//! Which repositories are being pushed to, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::oci::Name;

/// A push is many requests, and nothing says which of them belong together. So requests to a
/// repository that follow each other within the grace are taken for one push, and what it began with
/// is kept until it has ended.
#[derive(Default)]
pub(super) struct Pushes {
    running: Mutex<HashMap<Name, Push>>,
}

#[derive(Clone, Copy)]
struct Push {
    began: i64,
    last: i64,
}

/// A push can keep what nothing needs for this many times the grace: where one follows the other
/// without an end, garbage has to go nevertheless.
const LONGEST_PUSH: i64 = 24;

impl Pushes {
    /// Notes a request on an upload that was started at `started`.
    pub(super) fn note(&self, name: &Name, started: i64, now: i64, grace: i64) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get_mut(name) {
            Some(push) if now - push.last <= grace => {
                push.began = push.began.min(started);
                push.last = now;
            }
            _ => {
                let push = Push {
                    began: started,
                    last: now,
                };
                running.insert(name.clone(), push);
            }
        }
    }

    /// Which uses protect a blob of each repository: those since the time that is returned. `open`
    /// are the uploads that are open, with their starts.
    pub(super) fn horizon(
        &self,
        open: Vec<(Name, i64)>,
        now: i64,
        grace: i64,
    ) -> impl Fn(&Name) -> i64 + use<> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, push| now - push.last <= grace);
        let mut began: HashMap<Name, i64> = running
            .iter()
            .map(|(name, push)| (name.clone(), push.began))
            .collect();
        drop(running);
        for (name, started) in open {
            let earliest = began.entry(name).or_insert(started);
            *earliest = started.min(*earliest);
        }
        let longest = grace.saturating_mul(LONGEST_PUSH);
        move |name| {
            let unused = now.saturating_sub(grace);
            began.get(name).map_or(unused, |began| {
                let began = (*began).max(now.saturating_sub(longest));
                began.saturating_sub(grace).min(unused)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: i64 = 100;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_push_the_grace_alone_counts() {
        let horizon = Pushes::default().horizon(Vec::new(), 1000, GRACE);
        assert_eq!(horizon(&name("a")), 900);
    }

    #[test]
    fn a_push_keeps_what_was_used_within_the_grace_before_it_began() {
        let pushes = Pushes::default();
        // Each upload is short; together they take longer than the grace.
        for start in [1000, 1060, 1150, 1240] {
            pushes.note(&name("a"), start, start + 10, GRACE);
        }
        let horizon = pushes.horizon(Vec::new(), 1300, GRACE);
        assert_eq!(horizon(&name("a")), 900);
        assert_eq!(horizon(&name("b")), 1200, "another repository's push");
        // Once nothing came for longer than the grace, it has ended.
        let horizon = pushes.horizon(Vec::new(), 1351, GRACE);
        assert_eq!(horizon(&name("a")), 1251);
    }

    #[test]
    fn an_open_upload_keeps_its_push_running_and_none_runs_for_ever() {
        let open = || vec![(name("a"), 1000)];
        let pushes = Pushes::default();
        assert_eq!(pushes.horizon(open(), 2000, GRACE)(&name("a")), 900);
        let late = 1000 + GRACE * LONGEST_PUSH + 50;
        assert_eq!(pushes.horizon(open(), late, GRACE)(&name("a")), 950);
    }
}
