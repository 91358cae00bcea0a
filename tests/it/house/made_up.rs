//! The analysis on sources that were made up for it.

use std::collections::BTreeMap;

use super::House;
use super::forbidden;
use super::graph;

fn house(files: &[(&str, &str)]) -> House {
    let texts = files
        .iter()
        .map(|(path, text)| (format!("src/{path}.rs"), (*text).to_owned()));
    House::read(&texts.collect::<BTreeMap<_, _>>())
}

/// The arrows of the code proper, as `a -> b`.
fn arrows(house: &House) -> Vec<String> {
    let mut found: Vec<String> = house
        .code
        .keys()
        .map(|(from, to)| format!("{} -> {}", house.name(*from), house.name(*to)))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn expect(files: &[(&str, &str)], wanted: &[&str]) {
    assert_eq!(arrows(&house(files)), wanted);
}

#[test]
fn a_facade_has_no_arrows_and_its_users_have_those_to_the_definition() {
    expect(
        &[
            ("lib", "mod a; mod b;"),
            (
                "a/mod",
                "mod x; mod y; pub use x::X; pub(crate) use self::y::{Y as Z};",
            ),
            ("a/x", "pub struct X;"),
            ("a/y", "pub struct Y; fn f() -> super::X { super::X }"),
            ("b", "use crate::a::X; fn f(_: crate::a::Z) {}"),
        ],
        &["a/y -> a/x", "b -> a/x", "b -> a/y"],
    );
}

#[test]
fn a_module_that_uses_its_children_has_arrows() {
    let children = [
        ("lib", "mod a;"),
        ("a/x", "pub struct X; pub fn make() {} "),
        ("a/y", "pub struct Y(super::Own);"),
    ];
    let mut files = children.to_vec();
    files.push((
        "a/mod",
        "mod x; mod y; pub use x::X; pub struct Own; fn f() { y::f() }",
    ));
    expect(&files, &["a -> a/y", "a/y -> a"]);
    // A name that was passed on is used here as well.
    files.pop();
    files.push(("a/mod", "mod x; mod y; pub use x::X; pub struct Own(X);"));
    expect(&files, &["a -> a/x", "a/y -> a"]);
    // So is one that is imported for its own use.
    files.pop();
    files.push(("a/mod", "mod x; mod y; use x::X; pub struct Own;"));
    expect(&files, &["a -> a/x", "a/y -> a"]);
}

#[test]
fn globs_groups_and_chains_are_followed() {
    expect(
        &[
            ("lib", "mod a; mod b; mod c;"),
            ("a/mod", "mod deep; pub use deep::*;"),
            (
                "a/deep/mod",
                "mod x; mod y; pub use self::{x::*, y::{Y, self}};",
            ),
            (
                "a/deep/x",
                "pub struct X; pub enum E { One } pub fn same() {}",
            ),
            ("a/deep/y", "pub struct Y; pub const N: u8 = 1;"),
            ("b", "use crate::a::{X, y::{self}}; fn f() { y::Y; }"),
            ("c", "use crate::a::*; use E::*; fn f() -> Y { One }"),
        ],
        &[
            "b -> a/deep/x",
            "b -> a/deep/y",
            "c -> a/deep/x",
            "c -> a/deep/y",
        ],
    );
}

#[test]
fn super_and_inline_modules_are_counted_up() {
    expect(
        &[
            ("lib", "mod a; mod top; pub struct Root;"),
            (
                "top",
                "pub struct Top; pub mod inner { pub struct In; pub fn up(_: super::super::Root) {} }",
            ),
            ("a/mod", "mod b; pub struct A;"),
            (
                "a/b",
                "use super::super::top::inner::In; mod own { use super::super::A; struct Own(super::In, crate::Root); }",
            ),
        ],
        &["a/b -> a", "a/b -> lib", "a/b -> top", "top -> lib"],
    );
}

#[test]
fn tokens_of_macros_are_read() {
    expect(
        &[
            ("lib", "mod m; mod a; mod b; mod c; mod d; mod e;"),
            (
                "m",
                "macro_rules! made { ($name:ident) => { $crate::e::e(); pub struct $name; } } pub(crate) use made;",
            ),
            ("a", "crate::m::made!(A); impl A {}"),
            (
                "b",
                "use crate::m::made; fn f() { assert!(super::c::f(1), \"{}\", X); } use crate::d::X;",
            ),
            (
                "c",
                "pub fn f(_: u8) {} fn g() { println!(\"crate::a::A\"); }",
            ),
            (
                "d",
                "pub struct X; fn f(_: crate::a::A) {} fn g() { vec![{ use crate::{c::{f}}; }] }",
            ),
            ("e", "pub fn e() {}"),
        ],
        &[
            "a -> m", "b -> c", "b -> d", "b -> m", "d -> a", "d -> c", "m -> e",
        ],
    );
}

/// A module, a macro and a function may have one name.
#[test]
fn the_spaces_of_names_are_kept_apart() {
    expect(
        &[
            (
                "lib",
                "mod a; mod b; mod c; mod d; fn f() { ::a::b(); d::only(); }",
            ),
            ("a/mod", "mod same; pub use same::{only, same};"),
            (
                "a/same",
                "pub fn same() {} macro_rules! same { () => {} } macro_rules! only { () => {} }",
            ),
            ("b", "use crate::a::same; fn f() { same() }"),
            // The macro is imported, the function is its own.
            ("d", "use crate::a::only; pub fn only() {}"),
            (
                "c",
                "use std::io; use crate::b::io; fn a(b: u8) { b; io::stdin(); Self::x; }",
            ),
        ],
        &["b -> a/same", "c -> b", "d -> a/same", "lib -> d"],
    );
}

#[test]
fn code_of_tests_stands_apart() {
    let house = house(&[
        (
            "lib",
            "mod a; mod b; #[cfg(test)] mod helper; #[cfg(feature = \"testing\")] mod testing;",
        ),
        (
            "a",
            "#[cfg(test)] mod tests { use crate::b::B; } #[cfg(all(test, x))] use crate::b::C; #[cfg(any(test, feature = \"testing\"))] use crate::b::B; pub struct A;",
        ),
        (
            "b",
            "use crate::a::A; pub struct B; pub struct C; impl B { #[cfg(test)] fn f() { crate::helper::h() } }",
        ),
        ("helper", "use crate::a::A; pub fn h() {}"),
        ("testing/mod", "mod x; use crate::a::A; pub struct T;"),
        ("testing/x", "use super::T; use crate::a::A;"),
    ]);
    assert_eq!(arrows(&house), ["a -> b", "b -> a"]);
    assert_eq!(house.found.tests.len(), 3);
    assert_eq!(house.testing.len(), 3);
}

#[test]
fn files_are_found_where_rust_finds_them() {
    expect(
        &[
            ("lib", "mod a; mod c; pub mod cli;"),
            ("cli", "pub fn run() {}"),
            (
                "bin/tool",
                "mod own; fn main() { larder::cli::run(); own::f(); crate::own::f(); }",
            ),
            ("bin/own", "pub fn f() {}"),
            (
                "a",
                "mod b; #[path = \"named.rs\"] mod other; mod inline { pub mod leaf; } use inline::leaf::L;",
            ),
            ("a/b", "pub struct B;"),
            ("named", "use super::super::c::C;"),
            ("a/inline/leaf", "pub struct L;"),
            ("c", "pub struct C;"),
        ],
        &[
            "a -> a/inline/leaf",
            "bin/tool -> bin/own",
            "bin/tool -> cli",
            "named -> c",
        ],
    );
}

#[test]
fn the_blocks_of_a_type_are_found_in_every_folder() {
    let house = house(&[
        ("lib", "mod a; mod b;"),
        ("a/mod", "mod t; mod u; pub use t::*; pub trait Of {}"),
        (
            "a/t",
            "pub struct T; impl T {} pub struct S; impl S {} pub enum U {}",
        ),
        (
            "a/u",
            "use super::T; impl T {} impl super::Of for super::U {}",
        ),
        (
            "b/mod",
            "mod c; use crate::a::T; impl<'a> T {} impl crate::a::Of for T {} impl Clone for crate::a::S {}",
        ),
        ("b/c", "#[cfg(test)] impl crate::a::S {} mod d; struct C;"),
        ("b/c/d", "impl super::C {}"),
    ]);
    let names = |list: Vec<(&(usize, String), _)>| -> Vec<String> {
        list.into_iter()
            .map(|((_, name), _)| name.clone())
            .collect()
    };
    assert_eq!(names(house.scattered(&house.found.inherent)), ["T"]);
    assert_eq!(names(house.scattered(&house.found.traits)), ["T"]);
    assert_eq!(house.ratchet().scattered_types, 1);
}

#[test]
fn cycles_lists_and_rooms_are_counted() {
    let house = house(&[
        ("lib", "mod engine;"),
        (
            "engine/mod",
            "mod api; mod index; mod proof; mod loose; pub use api::Cache;",
        ),
        (
            "engine/api",
            "pub struct Cache(super::index::Index, super::proof::Proof);",
        ),
        ("engine/index/mod", "mod slot; pub use slot::Index;"),
        (
            "engine/index/slot",
            "pub struct Index; fn up(_: &crate::engine::Cache) {}",
        ),
        ("engine/proof", "use super::index::Index; pub struct Proof;"),
        ("engine/loose", "use super::Cache;"),
    ]);
    let now = house.ratchet();
    assert_eq!(
        (now.cycles, now.largest_cycle, now.modules_in_cycles),
        (1, 3, 3)
    );
    assert_eq!(house.imports()[0].1.len(), 2);
    let wrong = house.wrong_rooms();
    assert_eq!(wrong.keys().collect::<Vec<_>>(), [&("index", "api")]);
    assert_eq!(graph::cycles(house.testing.keys().copied()).len(), 0);
}

#[test]
fn the_rule_of_the_floors_sees_what_it_should() {
    assert!(forbidden("format", "engine").is_some());
    assert!(forbidden("check", "engine").is_some());
    assert!(forbidden("storage", "remote").is_some());
    assert!(forbidden("cli", "testing").is_some());
    assert!(forbidden("bin", "engine").is_some());
    assert!(forbidden("engine", "storage").is_none());
    assert!(forbidden("engine", "engine").is_none());
    let house = house(&[
        ("lib", "mod format; mod engine; mod new;"),
        (
            "format",
            "use super::engine::E; #[cfg(test)] use crate::engine::F;",
        ),
        (
            "engine",
            "mod read; mod odd; pub struct E; pub struct F; use crate::format;",
        ),
        ("engine/read/mod", ""),
        ("engine/odd/mod", ""),
        ("new", ""),
    ]);
    let faults = house.wrong_floors();
    assert_eq!(faults.len(), 4, "{faults:?}");
}
