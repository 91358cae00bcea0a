//! Cycles in a graph.

use std::collections::BTreeMap;

/// The strongly connected components of more than one node, the largest first.
pub(super) fn cycles(arrows: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, to) in arrows {
        next.entry(from).or_default().push(to);
        next.entry(to).or_default();
    }
    let mut search = Search {
        next: &next,
        order: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for node in next.keys() {
        if !search.order.contains_key(node) {
            search.visit(*node);
        }
    }
    let mut found = search.found;
    found.sort_by_key(|nodes| (usize::MAX - nodes.len(), nodes[0]));
    found
}

/// Tarjan's search.
struct Search<'a> {
    next: &'a BTreeMap<usize, Vec<usize>>,
    /// When a node was reached; `usize::MAX` once its component is known.
    order: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// The earliest node on the stack that `node` reaches.
    fn visit(&mut self, node: usize) -> usize {
        let own = self.order.len();
        let mut lowest = own;
        self.order.insert(node, own);
        self.stack.push(node);
        for &to in &self.next[&node] {
            lowest = lowest.min(match self.order.get(&to) {
                Some(reached) => *reached,
                None => self.visit(to),
            });
        }
        if lowest == own {
            let start = self.stack.iter().position(|other| *other == node).unwrap();
            let mut nodes = self.stack.split_off(start);
            for node in &nodes {
                self.order.insert(*node, usize::MAX);
            }
            if nodes.len() > 1 {
                nodes.sort_unstable();
                self.found.push(nodes);
            }
        }
        lowest
    }
}

#[test]
fn cycles_are_found() {
    let arrows = [
        (1, 2),
        (2, 3),
        (3, 1),
        (3, 4),
        (4, 5),
        (5, 4),
        (6, 1),
        (5, 7),
    ];
    assert_eq!(cycles(arrows.into_iter()), [vec![1, 2, 3], vec![4, 5]]);
    assert!(cycles([(1, 2), (1, 3), (2, 3)].into_iter()).is_empty());
}
