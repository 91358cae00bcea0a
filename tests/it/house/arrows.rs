//! The arrows between modules, and where the `impl` blocks of each type stand.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::resolve::{Target, resolve};
use super::scopes::{ALL, Crate, MACROS, TYPES, VALUES, is_test, leaves};

/// From a file to another one, as indices, with the names that are used.
pub(super) type Arrows = BTreeMap<(usize, usize), BTreeSet<String>>;

/// A type: the file that defines it, and its name.
pub(super) type Type = (usize, String);

/// What a crate's code says about its modules.
#[derive(Default)]
pub(super) struct Found {
    /// Of the code proper, that of the feature `testing` included.
    pub(super) code: Arrows,
    /// Of the code that is compiled for tests only.
    pub(super) tests: Arrows,
    /// The files with `impl Type` blocks of the code proper.
    pub(super) inherent: BTreeMap<Type, BTreeSet<usize>>,
    /// The files with `impl Trait for Type` blocks of the code proper, both of the crate.
    pub(super) traits: BTreeMap<Type, BTreeSet<usize>>,
}

/// Reads all arrows and `impl` blocks.
pub(super) fn find(all: &Crate) -> Found {
    let mut found = Found::default();
    for (file, its) in all.files.iter().enumerate() {
        let mut walk = Walk {
            all,
            file,
            scope: its.scope,
            inline_seen: 0,
            test: its.test,
            found: &mut found,
        };
        walk.visit_file(&its.ast);
    }
    found
}

struct Walk<'a> {
    all: &'a Crate,
    file: usize,
    scope: usize,
    /// How many inline modules of `scope` were gone through.
    inline_seen: usize,
    test: bool,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn arrow(&mut self, target: Option<&Target>) {
        if let Some(Target::Item { scope, name, .. }) = target {
            let to = self.all.scopes[*scope].file;
            if to != self.file {
                let arrows = if self.test {
                    &mut self.found.tests
                } else {
                    &mut self.found.code
                };
                let names = arrows.entry((self.file, to)).or_default();
                names.insert(name.clone());
            }
        }
    }

    fn use_path(&mut self, path: &[String], spaces: u8) {
        let target = resolve(self.all, self.scope, path, spaces);
        self.arrow(target.as_ref());
    }

    /// An import counts in each space in which it finds something. What a module passes on from its children is a use
    /// of theirs only where the module's own code names it.
    fn import(&mut self, path: &[String], passes_on: bool) {
        let targets: Vec<Target> = [TYPES, VALUES, MACROS]
            .into_iter()
            .filter_map(|space| resolve(self.all, self.scope, path, space))
            .collect();
        let is_seen = |target: &Target| match target {
            Target::Item { seen, .. } => *seen,
            Target::Module(_) => true,
            Target::External => false,
        };
        let any_seen = targets.iter().any(is_seen);
        for target in targets {
            let Target::Item { scope, .. } = &target else {
                continue;
            };
            let to = self.all.scopes[*scope].file;
            let facade = passes_on && self.all.is_within(to, self.file);
            if !facade && (!any_seen || is_seen(&target)) {
                self.arrow(Some(&target));
            }
        }
    }

    /// Goes on with `next`, as code of the tests if the attributes say so.
    fn under(&mut self, attributes: &[syn::Attribute], next: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= is_test(attributes);
        next(self);
        self.test = before;
    }

    /// The paths in tokens that are not parsed: those of two names and more, and single names of types.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        // How many colons came after the last name.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    if colons != 2 {
                        self.token_path(&mut path);
                    }
                    path.push(name);
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    // What stands in a group behind `crate::a::` goes on with it.
                    let before = if colons == 2 {
                        path.clone()
                    } else {
                        Vec::new()
                    };
                    self.token_path(&mut path);
                    colons = 0;
                    if before.is_empty() {
                        self.tokens(group.stream());
                    } else {
                        self.token_group(&before, group.stream());
                    }
                }
                _ => {
                    self.token_path(&mut path);
                    colons = 0;
                }
            }
        }
        self.token_path(&mut path);
    }

    /// The rest of `use before::{...}` in tokens.
    fn token_group(&mut self, before: &[String], tokens: TokenStream) {
        let text = format!("use {}::{{{tokens}}};", before.join("::"));
        match syn::parse_str::<syn::ItemUse>(&text) {
            Ok(import) => {
                for leaf in leaves(&import) {
                    self.import(&leaf.path, false);
                }
            }
            Err(_) => self.tokens(tokens),
        }
    }

    fn token_path(&mut self, path: &mut Vec<String>) {
        let is_type = |name: &String| name.starts_with(|first: char| first.is_ascii_uppercase());
        if path.len() > 1 || path.first().is_some_and(is_type) {
            self.use_path(path, ALL);
        }
        path.clear();
    }

    fn note_impl(&mut self, block: &syn::ItemImpl) {
        let syn::Type::Path(of) = &*block.self_ty else {
            return;
        };
        let path = names(&of.path);
        let owner = match resolve(self.all, self.scope, &path, TYPES) {
            Some(Target::Item { scope, name, .. }) => (self.all.scopes[scope].file, name),
            // A type that a macro of this module makes.
            None if path.len() == 1 && block.trait_.is_none() => (self.file, path[0].clone()),
            _ => return,
        };
        let blocks = match &block.trait_ {
            None => &mut self.found.inherent,
            Some((_, path, _)) => match resolve(self.all, self.scope, &names(path), TYPES) {
                Some(Target::Item { .. }) => &mut self.found.traits,
                _ => return,
            },
        };
        blocks.entry(owner).or_default().insert(self.file);
    }
}

fn names(path: &syn::Path) -> Vec<String> {
    let segments = path.segments.iter();
    segments.map(|part| part.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.under(attributes_of(item), |walk| visit::visit_item(walk, item));
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_none() {
            return;
        }
        // A module within a function has no scope; there is none today.
        let Some(&inner) = self.all.scopes[self.scope].inline.get(self.inline_seen) else {
            panic!(
                "{}: a module within a function",
                self.all.files[self.file].name
            );
        };
        let outer = (self.scope, self.inline_seen + 1);
        (self.scope, self.inline_seen) = (inner, 0);
        visit::visit_item_mod(self, module);
        (self.scope, self.inline_seen) = outer;
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        let passes_on = !matches!(import.vis, syn::Visibility::Inherited);
        for leaf in leaves(import) {
            self.import(&leaf.path, passes_on);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if !self.test {
            self.note_impl(block);
        }
        visit::visit_item_impl(self, block);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &Vec::new(),
        };
        self.under(attributes, |walk| visit::visit_impl_item(walk, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.under(&item.attrs, |walk| visit::visit_trait_item_fn(walk, item));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.under(&field.attrs, |walk| visit::visit_field(walk, field));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.under(&field.attrs, |walk| visit::visit_field_value(walk, field));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.under(&arm.attrs, |walk| visit::visit_arm(walk, arm));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.under(&local.attrs, |walk| visit::visit_local(walk, local));
    }

    fn visit_expr_block(&mut self, block: &'ast syn::ExprBlock) {
        self.under(&block.attrs, |walk| visit::visit_expr_block(walk, block));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.use_path(&names(path), TYPES | VALUES);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.use_path(&names(&invocation.path), MACROS);
        self.tokens(invocation.tokens.clone());
    }
}

fn attributes_of(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
