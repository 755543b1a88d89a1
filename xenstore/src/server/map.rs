//! A persistent ordered map: a clone is one reference count, and a change after it copies one path
//! of O(log n) entries. That is what makes a transaction's snapshot free, however large the store.
//!
//! A weight-balanced tree (Adams, "Efficient sets: a balancing act", 1993) with the parameters 3
//! and 2, for which Hirai and Yamamoto proved that insertion and removal keep the balance. Knows
//! nothing of paths. Invariant: recursion is bounded by the height, at most 2.5 log2 of the size.

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;

/// One side may outweigh the other by this factor.
const DELTA: usize = 3;
/// From this factor between the grandchildren on, one rotation would not be enough.
const RATIO: usize = 2;

/// An ordered map from text to `V`.
#[derive(Clone, Debug)]
pub(super) struct Map<V> {
    root: Link<V>,
}

type Link<V> = Option<Arc<Entry<V>>>;

#[derive(Clone, Debug)]
struct Entry<V> {
    key: Arc<str>,
    value: V,
    size: usize,
    left: Link<V>,
    right: Link<V>,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Clone> Map<V> {
    pub(super) fn len(&self) -> usize {
        size(&self.root)
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let mut link = &self.root;
        while let Some(entry) = link {
            link = match key.cmp(&entry.key) {
                Ordering::Less => &entry.left,
                Ordering::Greater => &entry.right,
                Ordering::Equal => return Some(&entry.value),
            };
        }
        None
    }

    /// The value of `key`, copied away from other maps that share it.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.get(key)?;
        let mut link = &mut self.root;
        while let Some(shared) = link {
            let entry = Arc::make_mut(shared);
            link = match key.cmp(&entry.key) {
                Ordering::Less => &mut entry.left,
                Ordering::Greater => &mut entry.right,
                Ordering::Equal => return Some(&mut entry.value),
            };
        }
        None
    }

    pub(super) fn insert(&mut self, key: &str, value: V) {
        insert(&mut self.root, key, value);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        self.get(key)?;
        remove(&mut self.root, key)
    }

    /// The first entry whose key is not less than `from`.
    pub(super) fn seek(&self, from: &str) -> Option<(&Arc<str>, &V)> {
        let mut link = &self.root;
        let mut best = None;
        while let Some(entry) = link {
            link = if &*entry.key < from {
                &entry.right
            } else {
                best = Some((&entry.key, &entry.value));
                &entry.left
            };
        }
        best
    }
}

impl<V: Clone> Entry<V> {
    fn resize(&mut self) {
        self.size = size(&self.left)
            .saturating_add(size(&self.right))
            .saturating_add(1);
    }

    fn balance(&mut self) {
        let (left, right) = (size(&self.left), size(&self.right));
        if left.saturating_add(right) > 1 {
            if right > left.saturating_mul(DELTA) {
                self.lean_left();
            } else if left > right.saturating_mul(DELTA) {
                self.lean_right();
            }
        }
        self.resize();
    }

    /// Moves weight from the right to the left.
    fn lean_left(&mut self) {
        if let Some(right) = &mut self.right
            && size(&right.left) >= size(&right.right).saturating_mul(RATIO)
        {
            Arc::make_mut(right).rotate_right();
        }
        self.rotate_left();
    }

    /// Moves weight from the left to the right.
    fn lean_right(&mut self) {
        if let Some(left) = &mut self.left
            && size(&left.right) >= size(&left.left).saturating_mul(RATIO)
        {
            Arc::make_mut(left).rotate_left();
        }
        self.rotate_right();
    }

    fn rotate_left(&mut self) {
        if let Some(mut shared) = self.right.take() {
            let child = Arc::make_mut(&mut shared);
            self.right = child.left.take();
            self.resize();
            mem::swap(self, child);
            self.left = Some(shared);
            self.resize();
        }
    }

    fn rotate_right(&mut self) {
        if let Some(mut shared) = self.left.take() {
            let child = Arc::make_mut(&mut shared);
            self.left = child.right.take();
            self.resize();
            mem::swap(self, child);
            self.right = Some(shared);
            self.resize();
        }
    }
}

fn size<V>(link: &Link<V>) -> usize {
    link.as_ref().map_or(0, |entry| entry.size)
}

fn insert<V: Clone>(link: &mut Link<V>, key: &str, value: V) {
    let Some(shared) = link else {
        let leaf = Entry {
            key: key.into(),
            value,
            size: 1,
            left: None,
            right: None,
        };
        *link = Some(Arc::new(leaf));
        return;
    };
    let entry = Arc::make_mut(shared);
    match key.cmp(&entry.key) {
        Ordering::Less => insert(&mut entry.left, key, value),
        Ordering::Greater => insert(&mut entry.right, key, value),
        Ordering::Equal => entry.value = value,
    }
    entry.balance();
}

fn remove<V: Clone>(link: &mut Link<V>, key: &str) -> Option<V> {
    let entry = Arc::make_mut(link.as_mut()?);
    let removed = match key.cmp(&entry.key) {
        Ordering::Less => remove(&mut entry.left, key),
        Ordering::Greater => remove(&mut entry.right, key),
        Ordering::Equal => return remove_here(link),
    };
    entry.balance();
    removed
}

/// Removes the entry at the top of `link`; its successor takes its place.
fn remove_here<V: Clone>(link: &mut Link<V>) -> Option<V> {
    let entry = Arc::make_mut(link.as_mut()?);
    if let Some((key, value)) = take_first(&mut entry.right) {
        entry.key = key;
        let removed = mem::replace(&mut entry.value, value);
        entry.balance();
        return Some(removed);
    }
    let left = entry.left.take();
    let removed = entry.value.clone();
    *link = left;
    Some(removed)
}

fn take_first<V: Clone>(link: &mut Link<V>) -> Option<(Arc<str>, V)> {
    let entry = Arc::make_mut(link.as_mut()?);
    if let Some(first) = take_first(&mut entry.left) {
        entry.balance();
        return Some(first);
    }
    let first = (entry.key.clone(), entry.value.clone());
    let right = entry.right.take();
    *link = right;
    Some(first)
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "tests may panic"
)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Height of a link, or `None` where sizes, order or balance are wrong.
    fn sound<V>(link: &Link<V>) -> Option<usize> {
        let Some(entry) = link else { return Some(0) };
        let (left, right) = (size(&entry.left), size(&entry.right));
        let balanced = left + right <= 1 || (left <= DELTA * right && right <= DELTA * left);
        let ordered = entry.left.as_ref().is_none_or(|left| left.key < entry.key)
            && entry
                .right
                .as_ref()
                .is_none_or(|right| right.key > entry.key);
        let right_size = entry.size == left + right + 1;
        (balanced && ordered && right_size)
            .then_some(1 + sound(&entry.left)?.max(sound(&entry.right)?))
    }

    fn step(
        map: &mut Map<usize>,
        model: &mut BTreeMap<String, usize>,
        insert: bool,
        key: &str,
        value: usize,
    ) -> Result<(), TestCaseError> {
        if insert {
            map.insert(key, value);
            model.insert(key.to_owned(), value);
        } else {
            prop_assert_eq!(map.remove(key), model.remove(key));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64,
            rng_seed: proptest::test_runner::RngSeed::Fixed(0x6d61_7073),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_map_agrees_with_a_btreemap_stays_balanced_and_leaves_its_clones_alone(
            steps in prop::collection::vec((any::<bool>(), 0_u16..48), 1..150),
        ) {
            let mut map = Map::default();
            let mut model = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (index, (insert, key)) in steps.iter().enumerate() {
                let key = format!("{key:03}");
                snapshots.push((map.clone(), model.clone()));
                step(&mut map, &mut model, *insert, &key, index)?;
                prop_assert!(sound(&map.root).is_some());
            }
            snapshots.push((map, model));
            for (map, model) in &snapshots {
                prop_assert_eq!(map.len(), model.len());
                for key in 0..49 {
                    let key = format!("{key:03}");
                    prop_assert_eq!(map.get(&key), model.get(&key));
                    let first = model.range(key.clone()..).next().map(|(key, _)| key.as_str());
                    prop_assert_eq!(map.seek(&key).map(|(key, _)| &**key), first);
                }
            }
        }
    }

    #[test]
    fn ascending_keys_give_a_map_of_logarithmic_height() {
        let mut map = Map::default();
        for key in 0..10_000 {
            map.insert(&format!("{key:05}"), ());
        }
        assert!(sound(&map.root).unwrap() <= 34);
    }
}
