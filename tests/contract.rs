//! Holds documents and program together: the example settings are the defaults, and README tells every route and every flag.
//! Reads README.md, settings.yaml.example, the route table and the flags.
//! Invariant: each check is a function over texts, and a test of its own shows that it can fail.

use std::collections::BTreeSet;

use api::cli::Flags;
use api::routes::TABLE;
use api::settings::{EXAMPLE, Layer, NAMES, Settings};
use api::wire::reference;
use engine::EngineConfig;

fn readme() -> String {
    std::fs::read_to_string(crate::root().join("README.md")).unwrap()
}

/// The rows of the table between `<!-- NAME -->` and `<!-- /NAME -->`, as trimmed cells, without its head.
fn table(text: &str, name: &str) -> Result<Vec<Vec<String>>, String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let missing = || format!("README.md has no table between {open} and {close}");
    let (_, rest) = text.split_once(&open).ok_or_else(missing)?;
    let (block, _) = rest.split_once(&close).ok_or_else(missing)?;
    let rows = block.lines().filter(|line| line.trim_start().starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().replace('`', "");
    Ok(rows.map(|row| row.trim().trim_matches('|').split('|').map(cell).collect()).collect())
}

/// What is wrong between a README and the routes.
fn route_problems(readme: &str) -> Vec<String> {
    let rows = match table(readme, "routes") {
        Ok(rows) => rows,
        Err(problem) => return vec![problem],
    };
    let told: BTreeSet<String> =
        rows.iter().map(|row| row.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" | ")).collect();
    let real: BTreeSet<String> =
        TABLE.iter().map(|row| format!("{} | {} | {}", row.method, row.path, row.summary)).collect();
    let missing = real.difference(&told).map(|row| format!("README.md lacks the route `{row}`"));
    let stray = told.difference(&real).map(|row| format!("README.md tells of `{row}`, which is no route"));
    missing.chain(stray).collect()
}

/// What is wrong between a README and the flags.
fn flag_problems(readme: &str) -> Vec<String> {
    let rows = match table(readme, "flags") {
        Ok(rows) => rows,
        Err(problem) => return vec![problem],
    };
    // A cell may hold a value's name behind the flag: `--api-port PORT`.
    let told: BTreeSet<String> =
        rows.iter().filter_map(|row| Some(row.first()?.split(' ').next()?.to_owned())).collect();
    let real: BTreeSet<String> = Flags::names().into_iter().collect();
    let missing = real.difference(&told).map(|flag| format!("README.md lacks the flag `{flag}`"));
    let stray = told.difference(&real).map(|flag| format!("README.md tells of `{flag}`, which is no flag"));
    missing.chain(stray).collect()
}

const PARAMETERS: (&str, &str) = ("<!-- parameters -->\n", "<!-- /parameters -->");

/// A README whose table of parameters is the one that they declare.
fn with_parameters(readme: &str) -> Result<String, String> {
    let missing = || format!("README.md has no table between {}and {}", PARAMETERS.0, PARAMETERS.1);
    let (before, rest) = readme.split_once(PARAMETERS.0).ok_or_else(missing)?;
    let (_, after) = rest.split_once(PARAMETERS.1).ok_or_else(missing)?;
    Ok([before, PARAMETERS.0, &reference::markdown(), PARAMETERS.1, after].concat())
}

/// What is wrong between a README and the parameters.
fn parameter_problems(readme: &str) -> Vec<String> {
    match with_parameters(readme) {
        Ok(wanted) if wanted == readme => vec![],
        Ok(_) => vec![
            "README.md's parameters are not those of the code; write them anew with \
            `cargo test -p api --test http write_the_parameters -- --ignored`"
                .to_owned(),
        ],
        Err(problem) => vec![problem],
    }
}

/// What is wrong with an example of the settings: each setting stands there once, with a comment above it.
fn example_problems(example: &str) -> Vec<String> {
    let lines: Vec<&str> = example.lines().collect();
    let mut problems = Vec::new();
    for name in NAMES {
        let places: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].starts_with(&format!("{name}:"))).collect();
        match places[..] {
            [place] if place > 0 && lines[place - 1].starts_with('#') => {}
            [_] => problems.push(format!("settings.yaml.example does not say why `{name}` is what it is")),
            _ => problems.push(format!("settings.yaml.example sets `{name}` {} times", places.len())),
        }
    }
    for flag in Flags::names() {
        let key = flag.trim_start_matches('-').replace('-', "_");
        // These two say how to start; they set nothing.
        if !["api", "settings"].contains(&key.as_str()) && !NAMES.contains(&key.as_str()) {
            problems.push(format!("`{flag}` has no setting `{key}`"));
        }
    }
    problems
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn readme_tells_every_route() {
    assert_none(&route_problems(&readme()));
}

#[test]
fn readme_tells_every_flag() {
    assert_none(&flag_problems(&readme()));
}

#[test]
fn readme_tells_every_parameter() {
    assert_none(&parameter_problems(&readme()));
}

/// No test, but the way to bring README's table up to date.
#[test]
#[ignore = "writes README.md"]
fn write_the_parameters() {
    std::fs::write(crate::root().join("README.md"), with_parameters(&readme()).unwrap()).unwrap();
}

#[test]
fn the_example_sets_and_explains_every_setting() {
    assert_none(&example_problems(EXAMPLE));
    let on_disk = std::fs::read_to_string(crate::root().join("settings.yaml.example")).unwrap();
    assert_eq!(on_disk, EXAMPLE);
}

#[test]
fn the_example_parses_to_the_defaults() {
    let resolve = |file: Layer| Settings::from_layers(Layer::default(), file, |_| None).unwrap();
    let defaults = resolve(Layer::default());
    assert_eq!(resolve(Layer::from_yaml(EXAMPLE, "example").unwrap()), defaults);
    // And they are the engine's own, but for the hub, whose folder and reach only the program knows.
    let config = defaults.engine_config();
    assert_eq!(config, EngineConfig { hub: config.hub.clone(), ..EngineConfig::default() });
}

#[test]
fn help_tells_the_defaults_of_the_example() {
    let help = Flags::read(["lampstand", "--help"]).unwrap_err().text;
    let defaults = Settings::from_layers(Layer::default(), Layer::default(), |_| None).unwrap();
    for shown in [
        format!("[default: {}]", defaults.api_port),
        format!("[default: {}]", defaults.model),
        format!("[default: {}]", defaults.model_dir.display()),
        format!("[default: {}]", defaults.parallel),
    ] {
        assert!(help.contains(&shown), "--help does not say {shown}");
    }
}

#[test]
fn every_check_can_fail() {
    assert!(!route_problems("no table at all").is_empty());
    let readme = readme();
    assert!(!route_problems(&readme.replace("/v1/models", "/v1/model")).is_empty());
    assert!(!route_problems(&readme.replacen("| GET |", "| PUT |", 1)).is_empty());
    assert!(!flag_problems(&readme.replace("--kv-cache", "--kv-cash")).is_empty());
    assert!(!parameter_problems("no table at all").is_empty());
    assert!(!parameter_problems(&readme.replace("`top_n_sigma`", "`top_m_sigma`")).is_empty());
    assert!(!example_problems(&EXAMPLE.replace("\nparallel: 32", "\n")).is_empty());
    assert!(!example_problems(&EXAMPLE.replace("\nparallel: 32", "\n\nparallel: 32")).is_empty());
    assert!(Layer::from_yaml(&EXAMPLE.replace("\nparallel:", "\nparalel:"), "example").is_err());
}
