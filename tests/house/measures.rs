//! Figures of the whole of src.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{SourceFile, files};

/// How many inherent methods each type has, and in how many files.
pub fn methods_by_type(files: &[SourceFile]) -> BTreeMap<String, (usize, usize)> {
    let mut found: BTreeMap<String, (usize, BTreeSet<&str>)> = BTreeMap::new();
    // Types of one name are told apart by their top-level module: `conn` and `shard` may both have a `Desk`.
    let defined = |name: &str| files.iter().filter(|file| file.types.iter().any(|item| item.name == name)).count();
    for file in files {
        for owner in file.functions.iter().filter_map(|function| function.owner.as_deref()) {
            let name =
                if defined(owner) > 1 { format!("{}::{owner}", file.module().join("::")) } else { owner.to_owned() };
            let (methods, places) = found.entry(name).or_default();
            *methods += 1;
            places.insert(&file.path);
        }
    }
    found.into_iter().map(|(name, (methods, places))| (name, (methods, places.len()))).collect()
}

/// Names that more than one type has, with the number of those types.
pub fn shared_names(files: &[SourceFile]) -> BTreeMap<&str, usize> {
    let mut found = BTreeMap::new();
    files.iter().flat_map(|file| &file.types).for_each(|item| *found.entry(item.name.as_str()).or_insert(0) += 1);
    found.retain(|_, count| *count > 1);
    found
}

/// Files whose code has a name in which one of `stems` stands: where the feature has signed up.
pub fn files_that_name<'a>(files: &'a [SourceFile], stems: &[&str]) -> Vec<&'a str> {
    let names_it =
        |file: &&SourceFile| file.names.iter().any(|name| stems.iter().any(|stem| name.to_lowercase().contains(stem)));
    files.iter().filter(names_it).map(|file| file.path.as_str()).collect()
}

/// Comment lines with a pronoun where a noun would be clearer.
pub fn vague_comment_lines(files: &[SourceFile]) -> usize {
    const VAGUE: [&str; 6] = ["who", "whoever", "whom", "nobody", "somebody", "anew"];
    let comments = files.iter().flat_map(|file| &file.lines).filter(|line| line.trim_start().starts_with("//"));
    comments
        .filter(|line| {
            line.split(|c: char| !c.is_alphanumeric()).any(|word| VAGUE.contains(&word.to_lowercase().as_str()))
        })
        .count()
}

/// Groups of files that import each other, parents and their children left out: each group is a cycle or several.
pub fn cycles(files: &[SourceFile]) -> Vec<Vec<&str>> {
    let by_module: BTreeMap<Vec<String>, usize> =
        files.iter().enumerate().map(|(at, file)| (file.module(), at)).collect();
    let edges: Vec<BTreeSet<usize>> =
        files.iter().enumerate().map(|(at, file)| imports(at, file, &by_module)).collect();
    let reach: Vec<BTreeSet<usize>> = (0..files.len()).map(|start| reachable(start, &edges)).collect();
    let mut groups: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    for at in 0..files.len() {
        let group: BTreeSet<usize> = reach[at].iter().copied().filter(|other| reach[*other].contains(&at)).collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().map(|group| group.into_iter().map(|at| files[at].path.as_str()).collect()).collect()
}

fn imports(at: usize, file: &SourceFile, by_module: &BTreeMap<Vec<String>, usize>) -> BTreeSet<usize> {
    let own = file.module();
    let targets = file.paths.iter().filter_map(|path| {
        let mut full: Vec<String> = if path[0] == "crate" { Vec::new() } else { own.clone() };
        for word in path {
            match word.as_str() {
                "crate" | "self" => {}
                "super" => _ = full.pop(),
                word => full.push(word.to_owned()),
            }
        }
        (1..=full.len()).rev().find_map(|length| by_module.get_key_value(&full[..length]))
    });
    let is_family = |module: &[String]| module.starts_with(&own) || own.starts_with(module);
    targets.filter(|(module, other)| **other != at && !is_family(module)).map(|(_, other)| *other).collect()
}

fn reachable(start: usize, edges: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        open.extend(edges[at].iter().copied().filter(|next| found.insert(*next)));
    }
    found
}

/// The value that so many per cent of the sorted values do not exceed.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn spread(mut values: Vec<usize>) -> String {
    values.sort_unstable();
    let [median, p90, p99] = [50, 90, 99].map(|percent| percentile(&values, percent));
    format!("{} of them, median {median}, p90 {p90}, p99 {p99}, max {}", values.len(), values[values.len() - 1])
}

/// Shown by `cargo test --test house -- --nocapture figures`; the bounds are in `bounds`.
#[test]
fn figures() {
    let files = files();
    println!("lines of files      {}", spread(files.iter().map(|file| file.lines.len()).collect()));
    println!("lines of functions  {}", spread(files.iter().flat_map(|f| &f.functions).map(|f| f.lines).collect()));
    let mut methods: Vec<_> = methods_by_type(files).into_iter().collect();
    methods.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    methods
        .iter()
        .take(8)
        .for_each(|(name, (count, places))| println!("methods             {name} {count} in {places} files"));
    let mut fields: Vec<_> = files.iter().flat_map(|file| &file.types).map(|item| (item.fields, &item.name)).collect();
    fields.sort_unstable_by(|a, b| b.cmp(a));
    fields.iter().take(5).for_each(|(count, name)| println!("fields              {name} {count}"));
    let shared = shared_names(files);
    let (sharing, all) = (shared.values().sum::<usize>(), files.iter().map(|file| file.types.len()).sum::<usize>());
    println!("shared type names   {sharing} of {all} types, {} names", shared.len());
    println!("vague comment lines {}", vague_comment_lines(files));
    cycles(files).iter().for_each(|group| println!("cycle               {}", group.join(" ")));
    for (feature, stems, _) in super::bounds::FEATURES {
        println!("feature             {feature}: {} files", files_that_name(files, stems).len());
    }
    assert!(files.len() > 100 && all > 200, "src was read");
}

#[test]
fn files_that_import_each_other_are_a_cycle_but_parent_and_child_are_none() {
    let files = [
        SourceFile::parse("hub/mod.rs", "use self::engine::Engine; pub struct Hub;"),
        SourceFile::parse("hub/engine.rs", "use super::Hub; use crate::hub::places::Set;"),
        SourceFile::parse("hub/places.rs", "use super::engine; use crate::base::Key;"),
        SourceFile::parse("base.rs", "pub struct Key;"),
    ];
    assert_eq!(cycles(&files), [["hub/engine.rs", "hub/places.rs"]]);
}

#[test]
fn methods_are_counted_over_files_and_types_of_one_name_apart() {
    let files = [
        SourceFile::parse("a.rs", "pub struct Desk; impl Desk { fn one(&self) {} }"),
        SourceFile::parse(
            "b.rs",
            "use crate::a::Desk; impl Desk { fn two(&self) {} } struct Step; impl Step { fn of() {} }",
        ),
        SourceFile::parse("c.rs", "enum Step {} impl Step { fn of() {} fn to() {} }"),
    ];
    let found = methods_by_type(&files);
    assert_eq!((found["Desk"], found["b::Step"], found["c::Step"]), ((2, 2), (1, 1), (2, 1)));
    assert_eq!(shared_names(&files), [("Step", 2)].into());
    assert_eq!(files_that_name(&files, &["desk"]), ["a.rs", "b.rs"]);
}
