//! All worlds that can be reached, and the ways between them.

use std::{collections::HashMap, fmt};

use super::{
    Rules,
    moves::{Move, moves},
    world::{Broken, World},
};

/// What was found to be wrong, and how it came to it.
pub(super) struct Found {
    pub(super) what: &'static str,
    way: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.what)?;
        for step in &self.way {
            write!(f, "\n  {step}")?;
        }
        Ok(())
    }
}

/// What can be reached.
pub(super) struct Graph {
    worlds: Vec<World>,
    /// From where each was first reached, and by what.
    first: Vec<Option<(u32, Move)>>,
    ways: Vec<(u32, u32, Move)>,
}

/// Goes through everything, breadth first: what is found is found by a shortest way.
pub(super) fn explore(rules: Rules, start: World) -> Result<Graph, Found> {
    let mut known = HashMap::from([(start.clone(), 0_u32)]);
    let mut graph = Graph { worlds: vec![start], first: vec![None], ways: Vec::new() };
    let mut at = 0;
    while at < graph.worlds.len() {
        let from = u32::try_from(at).unwrap();
        for (what, next) in moves(&graph.worlds[at], rules) {
            let next = match next.and_then(|next| next.check().map(|()| next)) {
                Ok(next) => next,
                Err(Broken(broken)) => return Err(graph.found(broken, from, Some(what))),
            };
            let to = *known.entry(next).or_insert_with_key(|next| {
                graph.worlds.push(next.clone());
                graph.first.push(Some((from, what)));
                u32::try_from(graph.worlds.len() - 1).unwrap()
            });
            if to != from {
                graph.ways.push((from, to, what));
            }
        }
        at += 1;
    }
    Ok(graph)
}

impl Graph {
    pub(super) fn len(&self) -> usize {
        self.worlds.len()
    }

    pub(super) fn ways(&self) -> usize {
        self.ways.len()
    }

    /// From wherever they got to: once nothing more goes wrong and the other is heard, there is one owner
    /// that runs it, and the other has nothing left of it.
    pub(super) fn ends_with_one_owner_that_runs(&self) -> Result<(), Found> {
        self.ends(Move::is_fair, World::is_settled, "it does not end with one owner that runs")
    }

    /// From wherever they got to: when the link never comes back, nothing stays half done but what only
    /// the other host can decide.
    pub(super) fn ends_without_a_link(&self) -> Result<(), Found> {
        self.ends(Move::is_alone, World::rests, "without a link something stays half done")
    }

    /// Whether an end is within reach from everywhere, by these moves alone. Then a fair course of events,
    /// of which there are finitely many, comes to it.
    fn ends(
        &self,
        allowed: fn(Move) -> bool,
        end: fn(&World) -> bool,
        what: &'static str,
    ) -> Result<(), Found> {
        let mut back: Vec<Vec<u32>> = vec![Vec::new(); self.worlds.len()];
        for (from, to, _) in self.ways.iter().filter(|(_, _, what)| allowed(*what)) {
            back[*to as usize].push(*from);
        }
        let mut ends: Vec<bool> = self.worlds.iter().map(end).collect();
        let mut queue: Vec<u32> = (0..).zip(&ends).filter(|(_, end)| **end).map(|(at, _)| at).collect();
        while let Some(at) = queue.pop() {
            for from in &back[at as usize] {
                if !std::mem::replace(&mut ends[*from as usize], true) {
                    queue.push(*from);
                }
            }
        }
        match ends.iter().position(|end| !end) {
            Some(stuck) => Err(self.found(what, u32::try_from(stuck).unwrap(), None)),
            None => Ok(()),
        }
    }

    fn found(&self, what: &'static str, at: u32, last: Option<Move>) -> Found {
        let mut way: Vec<String> = last.map(|last| format!("{last:?}")).into_iter().collect();
        let mut at = at;
        loop {
            way.push(self.worlds[at as usize].to_string());
            match self.first[at as usize] {
                Some((from, by)) => {
                    way.push(format!("{by:?}"));
                    at = from;
                }
                None => break,
            }
        }
        way.reverse();
        Found { what, way }
    }
}
