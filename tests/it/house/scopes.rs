//! The modules of a crate, with the names that each of them holds, read from its sources.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

/// The spaces in which Rust keeps its names apart, as bits.
pub(super) const TYPES: u8 = 1;
pub(super) const VALUES: u8 = 2;
pub(super) const MACROS: u8 = 4;
pub(super) const ALL: u8 = TYPES | VALUES | MACROS;

/// What a name of a scope stands for.
pub(super) enum Def {
    /// The module with this index in [`Crate::scopes`].
    Module(usize),
    /// Something that the scope itself defines, in these spaces.
    Item(u8),
    /// What this path, read in the scope, leads to.
    Import(Vec<String>),
}

/// A module: that of a file, or one that stands inline in a file.
pub(super) struct Scope {
    pub(super) parent: Option<usize>,
    /// Its file, as an index into [`Crate::files`].
    pub(super) file: usize,
    /// What it holds under each name, the most binding first.
    pub(super) names: BTreeMap<String, Vec<Def>>,
    /// The paths that are imported with `*`.
    pub(super) globs: Vec<Vec<String>>,
    /// Its inline modules, in the order of the source.
    pub(super) inline: Vec<usize>,
}

/// A file: what the analysis calls a module.
pub(super) struct File {
    /// Its name as a module: `engine/cache`, `engine` for the `mod.rs` of that folder, `lib` for the root.
    pub(super) name: String,
    /// The folder that it lies in, from `src/` on; empty for `src/` itself.
    pub(super) folder: String,
    /// The folder of its children, from `src/` on.
    pub(super) inner: String,
    pub(super) ast: syn::File,
    pub(super) scope: usize,
    /// Whether it is compiled for tests only.
    pub(super) test: bool,
}

/// All modules of a package.
pub(super) struct Crate {
    pub(super) scopes: Vec<Scope>,
    pub(super) files: Vec<File>,
}

/// One leaf of a `use`: `a::b as c` or `a::b::*`.
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    /// The name that it gives; none for `*` and `as _`.
    pub(super) name: Option<String>,
    pub(super) glob: bool,
}

impl Crate {
    /// Reads the sources of a package: paths from its root on (`src/a/b.rs`) and texts. The roots are `src/lib.rs` and
    /// each `src/bin/*.rs`; what none of them declares is left out.
    pub(super) fn read(sources: &BTreeMap<String, String>) -> Self {
        let mut all = Crate {
            scopes: Vec::new(),
            files: Vec::new(),
        };
        let bins = sources.keys().filter(|path| path.starts_with("src/bin/"));
        for root in std::iter::once(&"src/lib.rs".to_owned()).chain(bins) {
            all.add_file(sources, root, None, false);
        }
        all
    }

    /// Whether the file `inner` is the module `outer` or one beneath it.
    pub(super) fn is_within(&self, inner: usize, outer: usize) -> bool {
        let mut scope = Some(self.files[inner].scope);
        while let Some(at) = scope {
            if self.scopes[at].file == outer {
                return true;
            }
            scope = self.scopes[at].parent;
        }
        false
    }

    fn add_file(
        &mut self,
        sources: &BTreeMap<String, String>,
        path: &str,
        parent: Option<usize>,
        test: bool,
    ) -> usize {
        let text = sources
            .get(path)
            .unwrap_or_else(|| panic!("{path} is declared, but not there"));
        let mut ast = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        let items = std::mem::take(&mut ast.items);
        let test = test || is_test(&ast.attrs);
        let (folder, file) = path.rsplit_once('/').unwrap();
        let stem = file.trim_end_matches(".rs");
        let is_root = parent.is_none();
        let inner = match stem {
            "mod" => folder.to_owned(),
            _ if is_root => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let name = if stem == "mod" {
            folder
        } else {
            path.trim_end_matches(".rs")
        };
        let file = self.files.len();
        let scope = self.add_scope(parent, file);
        self.files.push(File {
            name: below_src(name),
            folder: below_src(folder),
            inner: below_src(&inner),
            ast,
            scope,
            test,
        });
        let place = Place {
            folder: folder.to_owned(),
            inner,
        };
        self.add_items(sources, &items, scope, &place, test);
        self.files[file].ast.items = items;
        scope
    }

    fn add_scope(&mut self, parent: Option<usize>, file: usize) -> usize {
        self.scopes.push(Scope {
            parent,
            file,
            names: BTreeMap::new(),
            globs: Vec::new(),
            inline: Vec::new(),
        });
        self.scopes.len() - 1
    }

    fn add_items(
        &mut self,
        sources: &BTreeMap<String, String>,
        items: &[syn::Item],
        scope: usize,
        place: &Place,
        test: bool,
    ) {
        for item in items {
            if let syn::Item::Mod(module) = item {
                let child = self.add_module(sources, module, scope, place, test);
                self.define(scope, &module.ident, Def::Module(child));
            } else {
                self.add_names(scope, item);
            }
        }
        // What stands in functions comes last: it hides nothing of the module's own.
        let mut nested = Nested(Vec::new());
        for item in items {
            match item {
                syn::Item::Mod(_) | syn::Item::Use(_) => {}
                item => visit::visit_item(&mut nested, item),
            }
        }
        for item in nested.0 {
            self.add_names(scope, item);
        }
    }

    fn add_module(
        &mut self,
        sources: &BTreeMap<String, String>,
        module: &syn::ItemMod,
        scope: usize,
        place: &Place,
        test: bool,
    ) -> usize {
        let test = test || is_test(&module.attrs);
        let inner = format!("{}/{}", place.inner, module.ident);
        if let Some((_, items)) = &module.content {
            let child = self.add_scope(Some(scope), self.scopes[scope].file);
            self.scopes[scope].inline.push(child);
            let place = Place {
                folder: inner.clone(),
                inner,
            };
            self.add_items(sources, items, child, &place, test);
            return child;
        }
        let path = match named_path(&module.attrs) {
            Some(path) => format!("{}/{path}", place.folder),
            None => {
                let beside = format!("{inner}.rs");
                if sources.contains_key(&beside) {
                    beside
                } else {
                    format!("{inner}/mod.rs")
                }
            }
        };
        self.add_file(sources, &path, Some(scope), test)
    }

    fn define(&mut self, scope: usize, name: &syn::Ident, def: Def) {
        let names = &mut self.scopes[scope].names;
        names.entry(name.to_string()).or_default().push(def);
    }

    fn add_names(&mut self, scope: usize, item: &syn::Item) {
        use syn::Item;
        let (name, spaces) = match item {
            Item::Use(import) => {
                for leaf in leaves(import) {
                    if leaf.glob {
                        self.scopes[scope].globs.push(leaf.path);
                    } else if let Some(name) = leaf.name {
                        let names = &mut self.scopes[scope].names;
                        names.entry(name).or_default().push(Def::Import(leaf.path));
                    }
                }
                return;
            }
            Item::Struct(item) => {
                let named = matches!(item.fields, syn::Fields::Named(_));
                (&item.ident, if named { TYPES } else { TYPES | VALUES })
            }
            Item::Enum(item) => (&item.ident, TYPES),
            Item::Union(item) => (&item.ident, TYPES),
            Item::Trait(item) => (&item.ident, TYPES),
            Item::TraitAlias(item) => (&item.ident, TYPES),
            Item::Type(item) => (&item.ident, TYPES),
            Item::Fn(item) => (&item.sig.ident, VALUES),
            Item::Const(item) => (&item.ident, VALUES),
            Item::Static(item) => (&item.ident, VALUES),
            Item::Macro(item) => match &item.ident {
                Some(name) => (name, MACROS),
                None => return,
            },
            _ => return,
        };
        self.define(scope, name, Def::Item(spaces));
    }
}

/// Where the files of a module's children are.
struct Place {
    /// The folder of the file itself: what `#[path]` begins at.
    folder: String,
    /// The folder of its children.
    inner: String,
}

/// Collects the imports and items within functions.
struct Nested<'ast>(Vec<&'ast syn::Item>);

impl<'ast> Visit<'ast> for Nested<'ast> {
    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        if let syn::Stmt::Item(item) = statement {
            self.0.push(item);
        }
        visit::visit_stmt(self, statement);
    }
}

fn below_src(path: &str) -> String {
    let below = path.strip_prefix("src").unwrap_or(path);
    below.trim_start_matches('/').to_owned()
}

/// Every leaf of a `use`, `{self}` and `as` resolved. What begins with `::` is another crate and gives nothing.
pub(super) fn leaves(import: &syn::ItemUse) -> Vec<Leaf> {
    let mut found = Vec::new();
    if import.leading_colon.is_none() {
        add_leaves(&import.tree, &mut Vec::new(), &mut found);
    }
    found
}

fn add_leaves(tree: &syn::UseTree, path: &mut Vec<String>, found: &mut Vec<Leaf>) {
    let mut add = |last: Option<&syn::Ident>, name: Option<&syn::Ident>, glob| {
        let mut path = path.clone();
        let last = last.map(syn::Ident::to_string);
        path.extend(last.filter(|last| last != "self" || path.is_empty()));
        let name = match name {
            Some(name) if name == "self" => path.last().cloned(),
            name => name.map(syn::Ident::to_string).filter(|name| name != "_"),
        };
        found.push(Leaf { path, name, glob });
    };
    match tree {
        syn::UseTree::Name(leaf) => add(Some(&leaf.ident), Some(&leaf.ident), false),
        syn::UseTree::Rename(leaf) => add(Some(&leaf.ident), Some(&leaf.rename), false),
        syn::UseTree::Glob(_) => add(None, None, true),
        syn::UseTree::Path(step) => {
            path.push(step.ident.to_string());
            add_leaves(&step.tree, path, found);
            path.pop();
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                add_leaves(tree, path, found);
            }
        }
    }
}

/// Whether these attributes leave something out of every build but that of the tests: `#[test]`, `#[cfg(test)]`, and
/// `#[cfg(all(test, ...))]`.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test")
            || path.is_ident("cfg")
                && attribute
                    .parse_args::<syn::Meta>()
                    .is_ok_and(|meta| needs_test(&meta))
    })
}

fn needs_test(meta: &syn::Meta) -> bool {
    type Parts = syn::punctuated::Punctuated<syn::Meta, syn::Token![,]>;
    match meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => {
            let parts = list.parse_args_with(Parts::parse_terminated);
            parts.is_ok_and(|parts| {
                list.path.is_ident("all") && parts.iter().any(needs_test)
                    || list.path.is_ident("any") && parts.iter().all(needs_test)
            })
        }
        syn::Meta::NameValue(_) => false,
    }
}

/// What `#[path = "..."]` says.
fn named_path(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) if pair.path.is_ident("path") => Some(text.value()),
            _ => None,
        }
    })
}
