//! The house as its code draws it: modules, the arrows between them, cycles, and the rules that they keep.
//!
//! A module is a file of `src`. It has an arrow to each module that defines what its code names: imports, paths and the
//! tokens of macros are followed through re-exports and globs to the definition. So a `mod.rs` that only passes on what
//! its children define has no arrows and gets none. What is compiled for tests only stands apart, and so does the folder
//! `testing`. `cargo nextest run --all-features --test it house:: --no-capture` prints what was found; with
//! `LARDER_HOUSE=full` set also every module with its arrows.

mod arrows;
mod graph;
mod made_up;
mod picture;
mod resolve;
mod scopes;

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::rust_files;
use arrows::{Arrows, Found, Type};
use scopes::Crate;

/// The folders of `src/` and their floors; those of one floor do not know each other. `testing` looks at all that the
/// simulations drive, and nothing in `src/` looks at it.
const FLOORS: &[(&str, u8)] = &[
    ("units", 0),
    ("format", 1),
    ("runtime", 1),
    ("storage", 2),
    ("remote", 2),
    ("engine", 3),
    ("check", 3),
    ("vfs", 4),
    ("fuse", 5),
    ("testing", 5),
    ("host", 6),
    ("cli", 7),
];

/// The rooms of `src/engine`, and which other rooms each may use. Every folder there is a room. A file that lies in
/// `src/engine` itself is in none, and is under no rule.
const ROOMS: &[(&str, &str)] = &[
    ("config", ""),
    ("stats", ""),
    ("policy", ""),
    ("health", "stats"),
    ("index", "health policy stats"),
    ("placement", "index"),
    ("proof", "health index placement"),
    ("space", "config health index placement stats"),
    ("flight", ""),
    ("version", "config flight index placement space"),
    ("fill", "flight index placement proof space version"),
    ("transfer", "fill flight placement version"),
    (
        "read",
        "config fill flight index placement proof space transfer version",
    ),
    ("upkeep", "index proof space stats version"),
    (
        "api",
        "config fill flight health index policy proof read space stats transfer upkeep version",
    ),
];

/// What is not yet as it should be. Each number may only become smaller, and is 0 at the end; then this table goes.
const RATCHET: Ratchet = Ratchet {
    cycles: 0,
    largest_cycle: 0,
    modules_in_cycles: 0,
    cycles_in_testing: 0,
    pairs_of_rooms: 0,
    scattered_types: 0,
};

/// The longest list of modules that one module may import.
const IMPORTS_MAX: usize = 32;

/// How many of each kind of fault there are.
#[derive(Debug)]
struct Ratchet {
    /// Cycles of modules, `testing` left out.
    cycles: usize,
    /// The modules of the largest.
    largest_cycle: usize,
    /// The modules of all of them.
    modules_in_cycles: usize,
    /// Cycles of modules in `testing`.
    cycles_in_testing: usize,
    /// Pairs of rooms of which one uses the other and may not.
    pairs_of_rooms: usize,
    /// Types with an `impl Type` outside the folder that defines them.
    scattered_types: usize,
}

/// What was read, and what it says.
struct House {
    all: Crate,
    found: Found,
    /// The arrows of the code proper, those of `testing` left out.
    code: Arrows,
    /// The arrows within `testing`.
    testing: Arrows,
}

impl House {
    fn read(sources: &BTreeMap<String, String>) -> Self {
        let all = Crate::read(sources);
        let found = arrows::find(&all);
        let from_testing = |(from, _): &(usize, usize)| folder_of(&all, *from) == "testing";
        let (testing, code) = found
            .code
            .clone()
            .into_iter()
            .partition(|(ends, _)| from_testing(ends));
        House {
            all,
            found,
            code,
            testing,
        }
    }

    fn name(&self, file: usize) -> &str {
        &self.all.files[file].name
    }

    fn cycles(&self) -> Vec<Vec<usize>> {
        graph::cycles(self.code.keys().copied())
    }

    fn cycles_in_testing(&self) -> Vec<Vec<usize>> {
        graph::cycles(self.testing.keys().copied())
    }

    /// Each module's list of imports, the longest first.
    fn imports(&self) -> Vec<(usize, Vec<usize>)> {
        let mut lists: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in self.code.keys() {
            lists.entry(*from).or_default().push(*to);
        }
        let mut lists: Vec<_> = lists.into_iter().collect();
        lists.sort_by_key(|(file, list)| (usize::MAX - list.len(), self.name(*file).to_owned()));
        lists
    }

    /// The room of the engine that a module is in.
    fn room(&self, file: usize) -> Option<&'static str> {
        let mut steps = self.name(file).split('/');
        let step = (steps.next() == Some("engine")).then(|| steps.next())??;
        let known = ROOMS.iter().find(|(room, _)| *room == step);
        known.map(|(room, _)| *room)
    }

    /// The folders whose file a module is: that in which it lies, and the one beside it that is named as it.
    fn folders(&self, file: usize) -> [&str; 2] {
        let its = &self.all.files[file];
        [&its.folder, &its.inner]
    }

    /// The pairs of rooms of which the first uses the second and may not, with the arrows.
    fn wrong_rooms(&self) -> BTreeMap<(&str, &str), Vec<(usize, usize)>> {
        let mut wrong: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (from, to) in self.code.keys() {
            if let (Some(own), Some(other)) = (self.room(*from), self.room(*to))
                && own != other
                && !may_use(own, other)
            {
                wrong.entry((own, other)).or_default().push((*from, *to));
            }
        }
        wrong
    }

    /// The types that have an `impl` of this kind outside the folder that defines them, with all files that have one.
    fn scattered<'a>(
        &self,
        blocks: &'a BTreeMap<Type, BTreeSet<usize>>,
    ) -> Vec<(&'a Type, &'a BTreeSet<usize>)> {
        let together = |one: usize, other: usize| {
            let others = self.folders(other);
            self.folders(one).iter().any(|one| others.contains(one))
        };
        blocks
            .iter()
            .filter(|((home, _), files)| files.iter().any(|file| !together(*file, *home)))
            .collect()
    }

    fn ratchet(&self) -> Ratchet {
        let cycles = self.cycles();
        Ratchet {
            cycles: cycles.len(),
            largest_cycle: cycles.first().map_or(0, Vec::len),
            modules_in_cycles: cycles.iter().map(Vec::len).sum(),
            cycles_in_testing: self.cycles_in_testing().len(),
            pairs_of_rooms: self.wrong_rooms().len(),
            scattered_types: self.scattered(&self.found.inherent).len(),
        }
    }

    /// Each arrow against the floors, that of a test included.
    fn wrong_floors(&self) -> Vec<String> {
        let mut faults = BTreeSet::new();
        for ((from, to), names) in self.found.code.iter().chain(&self.found.tests) {
            let (own, other) = (folder_of(&self.all, *from), folder_of(&self.all, *to));
            if let Some(why) = forbidden(own, other) {
                let (from, to) = (self.name(*from), self.name(*to));
                faults.insert(format!("{from} -> {to} {names:?}: {why}"));
            }
        }
        for (at, file) in self.all.files.iter().enumerate() {
            let folder = file.name.split('/').next().unwrap_or_default();
            if !["lib", "bin"].contains(&folder) && floor(folder).is_none() {
                faults.insert(format!("{folder} has no floor in tests/it/house.rs"));
            }
            if file.folder.starts_with("engine/") && self.room(at).is_none() {
                faults.insert(format!("{} is no room in tests/it/house.rs", file.folder));
            }
        }
        faults.into_iter().collect()
    }
}

/// The folder of `src` that a module is in; that of a `src/x.rs` is `x`.
fn folder_of(all: &Crate, file: usize) -> &str {
    let name = &all.files[file].name;
    name.split('/').next().unwrap_or_default()
}

fn floor(folder: &str) -> Option<u8> {
    let mut floors = FLOORS.iter();
    floors
        .find(|(name, _)| *name == folder)
        .map(|(_, floor)| *floor)
}

fn may_use(room: &str, other: &str) -> bool {
    let mut rooms = ROOMS.iter();
    rooms.any(|(name, used)| *name == room && used.split(' ').any(|name| name == other))
}

/// Why code in `folder` must not use what `other` defines, if so.
fn forbidden(folder: &str, other: &str) -> Option<String> {
    if folder == "bin" && !["bin", "cli"].contains(&other) {
        return Some("a binary calls cli only".to_owned());
    }
    let (own, its) = (floor(folder)?, floor(other)?);
    if other == "testing" && folder != "testing" {
        return Some("testing is for tests, fuzz targets and benches".to_owned());
    }
    (folder != other && its >= own).then(|| {
        format!("{other} is on floor {its}, {folder} on floor {own}: arrows go downwards only")
    })
}

fn this_house() -> House {
    let files = rust_files().into_iter();
    House::read(&files.filter(|(path, _)| path.starts_with("src/")).collect())
}

#[test]
fn arrows_go_downwards_only() {
    let faults = this_house().wrong_floors();
    assert!(
        faults.is_empty(),
        "against the floors:\n{}",
        faults.join("\n")
    );
}

/// The test that prints the house.
#[test]
fn nothing_in_the_house_gets_worse() {
    let house = this_house();
    let full = std::env::var("LARDER_HOUSE").is_ok_and(|value| value == "full");
    let text = picture::text(&house, full);
    eprintln!("{text}");
    let (now, most) = (house.ratchet(), RATCHET);
    let longest = house.imports().first().map_or(0, |(_, list)| list.len());
    let mut faults = Vec::new();
    for (what, now, most) in [
        ("cycles", now.cycles, most.cycles),
        ("largest_cycle", now.largest_cycle, most.largest_cycle),
        (
            "modules_in_cycles",
            now.modules_in_cycles,
            most.modules_in_cycles,
        ),
        (
            "cycles_in_testing",
            now.cycles_in_testing,
            most.cycles_in_testing,
        ),
        ("pairs_of_rooms", now.pairs_of_rooms, most.pairs_of_rooms),
        ("scattered_types", now.scattered_types, most.scattered_types),
        ("IMPORTS_MAX", longest, IMPORTS_MAX),
    ] {
        if now > most {
            faults.push(format!("{what}: {now}, at most {most}"));
        } else if now < most {
            eprintln!("{what} is {now} now: lower it in tests/it/house.rs, it is still {most}");
        }
    }
    assert!(
        faults.is_empty(),
        "worse than it was:\n{}",
        faults.join("\n")
    );
}
