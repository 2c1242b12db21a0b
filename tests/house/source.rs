//! The files of src, parsed. What only tests see (`#[cfg(test)]`, files of tests) is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One file of src.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to src, with slashes.
    pub path: String,
    pub lines: Vec<String>,
    pub functions: Vec<Function>,
    pub types: Vec<Type>,
    /// Every name that its code uses, a name once.
    pub names: BTreeSet<String>,
    /// Paths that begin with `crate`, `super` or `self`, as written.
    pub paths: Vec<Vec<String>>,
    /// Every text of its code with its line, comments left out.
    pub texts: Vec<(usize, String)>,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    /// The type whose inherent method it is.
    pub owner: Option<String>,
    pub lines: usize,
}

#[derive(Debug)]
pub struct Type {
    pub name: String,
    /// Of a struct; 0 of other types.
    pub fields: usize,
}

/// All files of src that are part of the product, read once.
pub fn files() -> &'static [SourceFile] {
    static FILES: OnceLock<Vec<SourceFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        list(&root, &mut paths);
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(&root).expect("it was listed there").to_string_lossy().into_owned();
            let is_test = name.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "model.rs"));
            let text = fs::read_to_string(path).expect("a file of src is text");
            (!is_test).then(|| SourceFile::parse(&name, &text))
        };
        paths.iter().filter_map(read).collect()
    })
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is a folder") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            list(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

impl SourceFile {
    pub fn parse(path: &str, text: &str) -> SourceFile {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut reader = Reader::default();
        reader.visit_file(&parsed);
        let Reader { functions, types, names, paths, texts, .. } = reader;
        SourceFile {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            functions,
            types,
            names,
            paths,
            texts,
        }
    }

    /// `conn/route.rs` is `conn::route`, `conn/mod.rs` is `conn`.
    pub fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
            parts.pop();
        }
        parts
    }
}

#[derive(Default)]
struct Reader {
    /// The type of the `impl` block around.
    owner: Option<String>,
    functions: Vec<Function>,
    types: Vec<Type>,
    names: BTreeSet<String>,
    paths: Vec<Vec<String>>,
    texts: Vec<(usize, String)>,
}

impl Reader {
    fn function(&mut self, signature: &syn::Signature, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        self.functions.push(Function { name: signature.ident.to_string(), owner: self.owner.clone(), lines });
    }

    fn type_of(&mut self, name: &syn::Ident, fields: usize) {
        self.types.push(Type { name: name.to_string(), fields });
    }

    fn imports(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.imports(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.imports(item, prefix)),
            syn::UseTree::Name(name) => self.path([prefix.clone(), vec![name.ident.to_string()]].concat()),
            syn::UseTree::Rename(name) => self.path([prefix.clone(), vec![name.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.path(prefix.clone()),
        }
    }

    fn path(&mut self, path: Vec<String>) {
        // `self` alone is a value.
        if path.len() > 1 && path.first().is_some_and(|first| matches!(first.as_str(), "crate" | "super" | "self")) {
            self.paths.push(path);
        }
    }

    fn text(&mut self, literal: &syn::Lit) {
        let line = literal.span().start().line;
        match literal {
            syn::Lit::Str(text) => self.texts.push((line, text.value())),
            syn::Lit::ByteStr(bytes) => self.texts.push((line, String::from_utf8_lossy(&bytes.value()).into_owned())),
            _ => {}
        }
    }

    /// Names and texts inside macro calls and attributes, which syn does not parse.
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => _ = self.names.insert(ident.to_string()),
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.text(&syn::Lit::new(literal)),
                TokenTree::Punct(_) => {}
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if is_for_tests(&block.attrs) {
            return;
        }
        let name = match (&block.trait_, &*block.self_ty) {
            (None, syn::Type::Path(path)) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.owner, name);
        visit::visit_item_impl(self, block);
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if is_for_tests(&function.attrs) {
            return;
        }
        let outer = self.owner.take();
        self.function(
            &function.sig,
            function.block.span().join(function.sig.span()).unwrap_or_else(|| function.span()),
        );
        visit::visit_item_fn(self, function);
        self.owner = outer;
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            self.function(&function.sig, function.block.span());
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if !is_for_tests(&item.attrs) {
            self.type_of(&item.ident, item.fields.len());
            visit::visit_item_struct(self, item);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if !is_for_tests(&item.attrs) {
            self.type_of(&item.ident, 0);
            visit::visit_item_enum(self, item);
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.type_of(&item.ident, 0);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.imports(&item.tree, &mut Vec::new());
            visit::visit_item_use(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.names.insert(ident.to_string());
    }

    fn visit_lit(&mut self, literal: &'ast syn::Lit) {
        self.text(literal);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        match &attribute.meta {
            // A comment.
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => {}
            syn::Meta::List(list) => self.tokens(list.tokens.clone()),
            _ => visit::visit_attribute(self, attribute),
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

#[test]
fn code_of_tests_is_left_out_and_everything_else_is_counted() {
    let text = "
        use crate::hub::{Hub, engine};
        pub struct Desk { slots: u8, now: u8 }
        impl Desk {
            /// A \"comment\".
            fn open(&self) { log!(Drawer, \"said\"); tell(\"told\") }
            #[cfg(test)]
            fn peek(&self) {}
        }
        impl Clone for Desk { fn clone(&self) -> Desk { Desk { ..*self } } }
        fn free() {
            super::other::call();
        }
        #[cfg(test)]
        mod tests { struct Fake; fn helper() {} }
    ";
    let file = SourceFile::parse("shard/desk.rs", text);
    let functions: Vec<_> = file.functions.iter().map(|f| (f.name.as_str(), f.owner.as_deref(), f.lines)).collect();
    assert_eq!(functions, [("open", Some("Desk"), 1), ("clone", None, 1), ("free", None, 3)]);
    assert_eq!(file.types.iter().map(|t| (t.name.as_str(), t.fields)).collect::<Vec<_>>(), [("Desk", 2)]);
    assert_eq!(file.texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["said", "told"]);
    assert!(file.names.contains("Drawer") && !file.names.contains("Fake"));
    let paths: Vec<String> = file.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::hub::Hub", "crate::hub::engine", "super::other::call"]);
    assert_eq!(file.module(), ["shard", "desk"]);
}
