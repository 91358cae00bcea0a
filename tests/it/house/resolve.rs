//! Where a path leads: through imports, re-exports and globs to the module that defines what it names.

use std::cell::RefCell;

use super::scopes::{Crate, Def, MACROS, TYPES};

/// The end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A module, as an index into the scopes.
    Module(usize),
    /// Something that a module defines.
    Item {
        /// The module.
        scope: usize,
        /// Its name there.
        name: String,
        /// Whether its definition was seen. A name that a macro makes is taken to be defined in the last module of its path.
        seen: bool,
    },
    /// Something of another crate.
    External,
}

impl Target {
    fn seen(&self) -> bool {
        !matches!(self, Target::Item { seen: false, .. })
    }
}

thread_local! {
    /// The questions that are being answered, against cycles of globs and of imports.
    static ASKED: RefCell<Vec<(usize, String, u8)>> = const { RefCell::new(Vec::new()) };
}

/// What `path`, read in `scope`, names in one of `spaces`; none if nothing that is known.
pub(super) fn resolve(all: &Crate, scope: usize, path: &[String], spaces: u8) -> Option<Target> {
    let (first, rest) = path.split_first()?;
    let first_spaces = if rest.is_empty() { spaces } else { TYPES };
    let start = match first.as_str() {
        "crate" => Target::Module(root_of(all, scope)),
        "self" => Target::Module(scope),
        "super" => Target::Module(all.scopes[scope].parent?),
        "Self" => return None,
        name => match look_up(all, scope, name, first_spaces) {
            Some(found) => found,
            // The binaries name the library.
            None if name == "larder" && !rest.is_empty() => Target::Module(0),
            None if rest.is_empty() && spaces & MACROS != 0 => macro_above(all, scope, name)?,
            None => return None,
        },
    };
    walk(all, start, rest, spaces)
}

fn root_of(all: &Crate, mut scope: usize) -> usize {
    while let Some(parent) = all.scopes[scope].parent {
        scope = parent;
    }
    scope
}

fn walk(all: &Crate, start: Target, rest: &[String], spaces: u8) -> Option<Target> {
    let (Target::Module(scope), Some((name, rest))) = (&start, rest.split_first()) else {
        // What follows an item are its variants or functions.
        return Some(start);
    };
    if name == "super" {
        return walk(
            all,
            Target::Module(all.scopes[*scope].parent?),
            rest,
            spaces,
        );
    }
    let name_spaces = if rest.is_empty() { spaces } else { TYPES };
    match look_up(all, *scope, name, name_spaces) {
        Some(found) => walk(all, found, rest, spaces),
        None => Some(Target::Item {
            scope: *scope,
            name: name.clone(),
            seen: false,
        }),
    }
}

/// What `scope` holds under `name` in one of `spaces`.
fn look_up(all: &Crate, scope: usize, name: &str, spaces: u8) -> Option<Target> {
    let question = (scope, name.to_owned(), spaces);
    if ASKED.with_borrow(|asked| asked.contains(&question)) {
        return None;
    }
    ASKED.with_borrow_mut(|asked| asked.push(question));
    let answer = look_up_once(all, scope, name, spaces);
    ASKED.with_borrow_mut(|asked| asked.pop());
    answer
}

fn look_up_once(all: &Crate, scope: usize, name: &str, spaces: u8) -> Option<Target> {
    let mut guess = None;
    for def in all.scopes[scope].names.get(name).into_iter().flatten() {
        let found = match def {
            Def::Module(child) if spaces & TYPES != 0 => Target::Module(*child),
            Def::Item(held) if held & spaces != 0 => Target::Item {
                scope,
                name: name.to_owned(),
                seen: true,
            },
            Def::Import(path) => resolve(all, scope, path, spaces).unwrap_or(Target::External),
            _ => continue,
        };
        if found.seen() && found != Target::External {
            return Some(found);
        }
        guess.get_or_insert(found);
    }
    for glob in &all.scopes[scope].globs {
        if guess.is_none()
            && let Some(Target::Module(from)) = resolve(all, scope, glob, TYPES)
            && let Some(found) = look_up(all, from, name, spaces)
        {
            return Some(found);
        }
    }
    guess
}

/// The macro of this name that an outer module defines, whose text is in force in the inner ones.
fn macro_above(all: &Crate, scope: usize, name: &str) -> Option<Target> {
    let mut above = all.scopes[scope].parent;
    while let Some(scope) = above {
        let defs = all.scopes[scope].names.get(name).into_iter().flatten();
        for def in defs {
            if matches!(def, Def::Item(held) if held & MACROS != 0) {
                return Some(Target::Item {
                    scope,
                    name: name.to_owned(),
                    seen: true,
                });
            }
        }
        above = all.scopes[scope].parent;
    }
    None
}
