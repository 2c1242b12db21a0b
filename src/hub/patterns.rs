//! A trie of patterns: finds all subscriptions to a subject in one walk, however many patterns there are.
//!
//! ```text
//!  root --driver--> o --*---------> o  values of `driver.*`
//!                   |  rest: values of `driver.>`
//!                   '--location--> o --42--> o  values of `driver.location.42`
//! ```
//!
//! A node stands for the tokens that lead to it, and a look-up visits it at most once. Empty nodes are freed. Walks are
//! loops, and a pattern has at most [`SUBJECT_TOKENS_MAX`](crate::limits::SUBJECT_TOKENS_MAX) tokens.

use ahash::AHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::proto::subject::{self, Pattern};

/// Patterns with their values. A pattern may have many values, some of them equal.
pub(crate) struct Trie<T> {
    nodes: Slab<TrieNode<T>>,
    root: usize,
    len: usize,
}

struct TrieNode<T> {
    /// By the next token, taken literally.
    children: AHashMap<Box<str>, usize>,
    /// For any next token: `*`.
    any: Option<usize>,
    /// Values of the pattern that ends here.
    values: Vec<T>,
    /// Values of the pattern that ends here with a `>`.
    rest: Vec<T>,
}

/// The list of a node's values, decided by the last token of the pattern.
#[derive(Clone, Copy)]
enum ValueList {
    Values,
    Rest,
}

impl<T> Trie<T> {
    pub(crate) fn new() -> Trie<T> {
        let mut nodes = Slab::new();
        let root = nodes.insert(TrieNode::default());
        Trie { nodes, root, len: 0 }
    }

    /// The number of values.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn insert(&mut self, pattern: &Pattern, value: T) {
        let (tokens, place) = split(pattern);
        let mut node = self.root;
        for token in tokens.into_iter().flat_map(subject::tokens) {
            node = self.child(node, token).unwrap_or_else(|| self.grow(node, token));
        }
        self.nodes[node].at(place).push(value);
        self.len += 1;
    }

    /// Removes one value of exactly this pattern for which `is_it` holds. Checks all values of the pattern.
    pub(crate) fn remove(&mut self, pattern: &Pattern, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let (tokens, place) = split(pattern);
        let mut path: SmallVec<[(usize, &str); 16]> = SmallVec::new();
        let mut node = self.root;
        for token in tokens.into_iter().flat_map(subject::tokens) {
            path.push((node, token));
            node = self.child(node, token)?;
        }
        let values = self.nodes[node].at(place);
        let index = values.iter().position(is_it)?;
        let value = values.swap_remove(index);
        self.len -= 1;
        while self.nodes[node].is_empty()
            && let Some((parent, token)) = path.pop()
        {
            self.nodes.remove(node);
            self.nodes[parent].cut(token);
            node = parent;
        }
        Some(value)
    }

    /// Calls `found` for each value whose pattern matches the valid `subject`, in no particular order.
    pub(crate) fn for_each_match<'a>(&'a self, subject: &str, mut found: impl FnMut(&'a T)) {
        if self.is_empty() {
            return;
        }
        // Nodes to visit, and the tokens that are left at each.
        let mut visits: SmallVec<[(usize, Option<&str>); 16]> = SmallVec::new();
        visits.push((self.root, Some(subject)));
        while let Some((node, tokens)) = visits.pop() {
            let node = &self.nodes[node];
            let Some(tokens) = tokens else {
                node.values.iter().for_each(&mut found);
                continue;
            };
            node.rest.iter().for_each(&mut found);
            let (token, tokens) = match tokens.split_once('.') {
                Some((token, tokens)) => (token, Some(tokens)),
                None => (tokens, None),
            };
            visits.extend(node.any.map(|child| (child, tokens)));
            visits.extend(node.children.get(token).map(|&child| (child, tokens)));
        }
    }

    fn child(&self, node: usize, token: &str) -> Option<usize> {
        let node = &self.nodes[node];
        if token == "*" { node.any } else { node.children.get(token).copied() }
    }

    fn grow(&mut self, node: usize, token: &str) -> usize {
        let child = self.nodes.insert(TrieNode::default());
        let node = &mut self.nodes[node];
        if token == "*" {
            node.any = Some(child);
        } else {
            node.children.insert(token.into(), child);
        }
        child
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Trie<T> {
        Trie::new()
    }
}

impl<T> TrieNode<T> {
    fn at(&mut self, place: ValueList) -> &mut Vec<T> {
        match place {
            ValueList::Values => &mut self.values,
            ValueList::Rest => &mut self.rest,
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.values.is_empty() && self.rest.is_empty()
    }

    fn cut(&mut self, token: &str) {
        if token == "*" {
            self.any = None;
        } else {
            self.children.remove(token);
        }
    }
}

impl<T> Default for TrieNode<T> {
    fn default() -> TrieNode<T> {
        TrieNode { children: AHashMap::new(), any: None, values: Vec::new(), rest: Vec::new() }
    }
}

/// The tokens that lead to the pattern's node (none for `>` alone, whose node is the root), and where its values are.
fn split(pattern: &Pattern) -> (Option<&str>, ValueList) {
    match pattern.as_str() {
        ">" => (None, ValueList::Rest),
        name => match name.strip_suffix(".>") {
            Some(tokens) => (Some(tokens), ValueList::Rest),
            None => (Some(name), ValueList::Values),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(name: &str) -> Pattern {
        Pattern::new(name).unwrap()
    }

    fn matches(trie: &Trie<usize>, subject: &str) -> Vec<usize> {
        let mut found = Vec::new();
        trie.for_each_match(subject, |value| found.push(*value));
        found.sort_unstable();
        found
    }

    #[test]
    fn finds_literals_and_both_wildcards() {
        let mut trie = Trie::new();
        for (value, name) in ["a.b", "a.*", "a.>", ">", "*", "*.b", "*.*.c", "a>.b"].iter().enumerate() {
            trie.insert(&pattern(name), value);
        }
        assert_eq!(matches(&trie, "a.b"), [0, 1, 2, 3, 5]);
        assert_eq!(matches(&trie, "a"), [3, 4]);
        assert_eq!(matches(&trie, "a.b.c"), [2, 3, 6]);
        assert_eq!(matches(&trie, "a>.b"), [3, 5, 7]);
    }

    #[test]
    fn equal_values_are_removed_one_by_one() {
        let mut trie = Trie::new();
        trie.insert(&pattern("a.*"), 1);
        trie.insert(&pattern("a.*"), 1);
        assert_eq!(trie.remove(&pattern("a.*"), |value| *value == 2), None);
        assert_eq!(trie.remove(&pattern("a.>"), |_| true), None);
        assert_eq!(trie.remove(&pattern("a.*"), |value| *value == 1), Some(1));
        assert_eq!(matches(&trie, "a.b"), [1]);
        assert_eq!(trie.len(), 1);
    }

    #[test]
    fn frees_what_holds_nothing_and_keeps_what_does() {
        let mut trie = Trie::new();
        for name in ["a.b.c.d", "a.b", "a.*.>", ">"] {
            trie.insert(&pattern(name), 0);
        }
        assert_eq!(trie.nodes.len(), 6);
        trie.remove(&pattern("a.b.c.d"), |_| true);
        assert_eq!(trie.nodes.len(), 4);
        for name in ["a.b", "a.*.>", ">"] {
            assert_eq!(trie.remove(&pattern(name), |_| true), Some(0), "{name}");
        }
        assert!(trie.is_empty());
        assert_eq!(trie.nodes.len(), 1);
    }

    fn pattern_name() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec!["a", "b", "*"]);
        (prop::collection::vec(token, 0..5), any::<bool>()).prop_map(|(mut tokens, has_rest)| {
            if has_rest || tokens.is_empty() {
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    proptest! {
        #[test]
        fn agrees_with_matching_one_by_one(
            names in prop::collection::vec(pattern_name(), 1..40),
            subjects in prop::collection::vec("[ab](\\.[abc]){0,5}", 1..10),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let patterns: Vec<Pattern> = names.iter().map(|name| pattern(name)).collect();
            let mut trie = Trie::new();
            patterns.iter().enumerate().for_each(|(value, pattern)| trie.insert(pattern, value));
            let mut is_in = vec![true; patterns.len()];
            for index in removed {
                let value = index.index(patterns.len());
                let taken = trie.remove(&patterns[value], |other| *other == value);
                prop_assert_eq!(taken.is_some(), std::mem::replace(&mut is_in[value], false));
            }
            for subject in &subjects {
                let expected: Vec<usize> =
                    (0..patterns.len()).filter(|&value| is_in[value] && patterns[value].matches(subject)).collect();
                prop_assert_eq!(matches(&trie, subject), expected);
            }
            prop_assert_eq!(trie.len(), is_in.iter().filter(|is_in| **is_in).count());
            for value in (0..patterns.len()).filter(|value| is_in[*value]) {
                trie.remove(&patterns[value], |other| *other == value);
            }
            prop_assert_eq!(trie.nodes.len(), 1);
        }
    }
}
