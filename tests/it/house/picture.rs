//! What the analysis found, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::arrows::Type;
use super::{Arrows, House, folder_of};

/// A summary; with `full` also a line for each module with its arrows, by folder.
pub(super) fn text(house: &House, full: bool) -> String {
    let mut out = String::new();
    if full {
        modules(house, &mut out);
    }
    counts(house, &mut out);
    let cycles = house.cycles();
    let in_cycles: usize = cycles.iter().map(Vec::len).sum();
    let _ = writeln!(out, "{} cycles with {in_cycles} modules", cycles.len());
    for nodes in &cycles {
        cycle(house, nodes, &house.code, &mut out);
    }
    let in_testing = house.cycles_in_testing();
    let _ = writeln!(out, "{} cycles in testing", in_testing.len());
    for nodes in &in_testing {
        cycle(house, nodes, &house.testing, &mut out);
    }
    let _ = writeln!(out, "the longest lists of imports:");
    for (file, list) in house.imports().iter().take(5) {
        let names: Vec<&str> = list.iter().map(|to| house.name(*to)).collect();
        let (name, count) = (house.name(*file), list.len());
        let _ = writeln!(out, "  {name}: {count}: {}", names.join(", "));
    }
    rooms(house, &mut out);
    let inherent = house.scattered(&house.found.inherent);
    scattered(house, "impl Type", &inherent, &mut out);
    let traits = house.scattered(&house.found.traits);
    scattered(house, "impl Trait for Type", &traits, &mut out);
    out
}

fn counts(house: &House, out: &mut String) {
    let files = 0..house.all.files.len();
    let (mut code, mut tests, mut testing) = (0, 0, 0);
    for file in files {
        if folder_of(&house.all, file) == "testing" {
            testing += 1;
        } else if house.all.files[file].test {
            tests += 1;
        } else {
            code += 1;
        }
    }
    let _ = writeln!(out, "{code} modules, {} arrows", house.code.len());
    let only_tests = house.found.tests.keys();
    let only_tests = only_tests.filter(|ends| !house.found.code.contains_key(ends));
    let _ = writeln!(
        out,
        "apart: {tests} modules of tests, {} arrows of tests; testing: {testing} modules, {} arrows",
        only_tests.count(),
        house.testing.len()
    );
}

/// `a -> b (X, Y), c (Z)`.
fn line(house: &House, from: usize, arrows: &[(usize, &BTreeSet<String>)]) -> String {
    let ends = arrows.iter().map(|(to, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("{} ({})", house.name(*to), names.join(", "))
    });
    let ends: Vec<String> = ends.collect();
    format!("  {} -> {}", house.name(from), ends.join(", "))
}

fn modules(house: &House, out: &mut String) {
    let mut folders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (file, its) in house.all.files.iter().enumerate() {
        folders.entry(&its.folder).or_default().push(file);
    }
    for (folder, mut files) in folders {
        let _ = writeln!(out, "src/{folder}");
        files.sort_by_key(|file| house.name(*file));
        for file in files {
            let arrows = of(&house.found.code, file);
            let in_tests = of(&house.found.tests, file);
            if arrows.is_empty() && in_tests.is_empty() {
                let _ = writeln!(out, "  {}", house.name(file));
            }
            if !arrows.is_empty() {
                let _ = writeln!(out, "{}", line(house, file, &arrows));
            }
            if !in_tests.is_empty() {
                let _ = writeln!(out, "{} [tests]", line(house, file, &in_tests));
            }
        }
    }
}

fn of(arrows: &Arrows, file: usize) -> Vec<(usize, &BTreeSet<String>)> {
    arrows
        .range((file, 0)..=(file, usize::MAX))
        .map(|((_, to), names)| (*to, names))
        .collect()
}

fn cycle(house: &House, nodes: &[usize], arrows: &Arrows, out: &mut String) {
    let _ = writeln!(out, "a cycle of {}:", nodes.len());
    for &from in nodes {
        let mut inner = of(arrows, from);
        inner.retain(|(to, _)| nodes.contains(to));
        let _ = writeln!(out, "{}", line(house, from, &inner));
    }
}

fn rooms(house: &House, out: &mut String) {
    let wrong = house.wrong_rooms();
    let count = wrong.len();
    let _ = writeln!(
        out,
        "{count} pairs of rooms of the engine that should not be:"
    );
    for ((own, other), arrows) in wrong {
        let ends = arrows.iter().map(|ends| {
            let names: Vec<&str> = house.code[ends].iter().map(String::as_str).collect();
            let (from, to) = (house.name(ends.0), house.name(ends.1));
            let short = |name: &str| name.trim_start_matches("engine/").to_owned();
            format!("{} -> {} ({})", short(from), short(to), names.join(", "))
        });
        let ends: Vec<String> = ends.collect();
        let _ = writeln!(out, "  {own} -> {other}: {}", ends.join("; "));
    }
}

fn scattered(house: &House, what: &str, types: &[(&Type, &BTreeSet<usize>)], out: &mut String) {
    let count = types.len();
    let _ = writeln!(out, "{count} types with `{what}` outside their folder:");
    for ((home, name), files) in types {
        let files: Vec<&str> = files.iter().map(|file| house.name(*file)).collect();
        let home = house.name(*home);
        let _ = writeln!(out, "  {name} of {home}: in {}", files.join(", "));
    }
}
