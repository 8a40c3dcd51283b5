//! Deadlines of many owners, one for each.
//!
//! An owner remembers the deadline it is armed for, and re-arms only for an earlier one. So answering a request
//! costs nothing here; in return an owner may be woken before anything of it is due, and then arms itself for
//! what is left.

use std::collections::BTreeSet;

use crate::model::Timestamp;

/// The armed deadlines.
#[derive(Debug)]
pub(crate) struct Timers<K>(BTreeSet<(Timestamp, K)>);

impl<K: Ord + Clone> Timers<K> {
    /// No deadline.
    pub(crate) fn new() -> Timers<K> {
        Timers(BTreeSet::new())
    }

    /// Makes sure that `owner`, armed for `armed`, is woken at `at` at the latest.
    pub(crate) fn arm(&mut self, owner: &K, armed: &mut Option<Timestamp>, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        if armed.is_some_and(|armed| armed <= at) {
            return;
        }
        self.disarm(owner, armed);
        *armed = Some(at);
        self.0.insert((at, owner.clone()));
    }

    /// Forgets `owner`, armed for `armed`.
    pub(crate) fn disarm(&mut self, owner: &K, armed: &mut Option<Timestamp>) {
        if let Some(at) = armed.take() {
            self.0.remove(&(at, owner.clone()));
        }
    }

    /// When the next owner is to be woken.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The next owner to be woken, if that is by `now`. It is no longer armed.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, owner)| owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_deadline_for_each_owner() {
        let mut timers = Timers::new();
        let (mut a, mut b) = (None, None);
        timers.arm(&'a', &mut a, Some(Timestamp(30)));
        timers.arm(&'a', &mut a, Some(Timestamp(40)));
        timers.arm(&'b', &mut b, Some(Timestamp(20)));
        timers.arm(&'a', &mut a, Some(Timestamp(10)));
        timers.arm(&'a', &mut a, None);
        assert_eq!(timers.next(), Some(Timestamp(10)));
        assert_eq!(timers.pop(Timestamp(9)), None);
        assert_eq!(timers.pop(Timestamp(10)), Some('a'));
        timers.disarm(&'b', &mut b);
        assert_eq!((timers.next(), b), (None, None));
    }
}
