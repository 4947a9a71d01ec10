//! Which model a name means, decided over names alone: its own name, a part of it, an alias of the user's or of the table,
//! or a name that OpenAI's clients carry in their code.
//! `models` asks here wherever a `model` is taken; nothing is loaded or touched.
//! Invariant: a name that fits nothing is an error that lists what there is; it never silently reaches some model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine::{AvailableModel, ErrorKind};

use super::aliases::{Alias, AliasState, Aliases};
use super::purpose::Purpose;
use crate::error::{ApiError, Kind, Result};
use crate::settings::nearest;

/// Aliases of the user's that may lead to one another.
const HOPS_MAX: usize = 8;
/// Names in an error.
const LISTED_MAX: usize = 20;
/// Characters of a client's text in an error.
const SHOWN_MAX: usize = 100;

/// What there is to choose from.
pub(super) struct World<'a> {
    /// What the model is needed for.
    pub(super) purpose: Purpose,
    /// Names of the loaded models of that purpose, the default one first.
    pub(super) loaded: &'a [String],
    /// What lies in the model folder, for whatever purpose.
    pub(super) available: &'a [AvailableModel],
    /// Whether the cache of downloads has a hub id's model, sound and whole.
    pub(super) cached: &'a dyn Fn(&str) -> bool,
    /// Whether a request may have a model loaded.
    pub(super) autoload: bool,
    /// Whether there is a default model, loaded or to be loaded.
    pub(super) has_default: bool,
    /// What the default model is called where it may be named before it is loaded.
    pub(super) default_name: Option<&'a str>,
    /// Whether a name that fits nothing means the default model, as text-generation-webui ignores names.
    pub(super) any_name: bool,
    /// The user's aliases.
    pub(super) user: &'a BTreeMap<String, String>,
    /// The table's.
    pub(super) table: &'a Aliases,
}

/// The model that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A loaded one, by its exact name.
    Loaded(String),
    /// One of the model folder, by its name there.
    Available(String),
    /// One of the cache of downloads, by its id.
    Cached(String),
    /// The default one.
    Default,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Who answers.
    pub(super) target: Target,
    /// Whether it stands in for weights that are not here.
    pub(super) is_substitute: bool,
}

impl From<Target> for Meaning {
    fn from(target: Target) -> Self {
        Self { target, is_substitute: false }
    }
}

impl World<'_> {
    /// The model that `asked` means; no name means the default one.
    ///
    /// # Errors
    /// 404 with `param: model` that names the nearest; the model's own problem where it lies here but cannot be used.
    pub(super) fn meaning(&self, asked: Option<&str>) -> Result<Meaning> {
        let asked = match asked.map(str::trim) {
            None | Some("") => return self.default(None),
            Some(asked) => decoded(asked),
        };
        let mut name: &str = &asked;
        for _ in 0..=HOPS_MAX {
            if let Some(own) = self.loaded.iter().find(|own| *own == name) {
                return Ok(Target::Loaded(own.clone()).into());
            }
            match self.user.get(name) {
                Some(next) => name = next,
                None => return self.by_rules(name),
            }
        }
        Err(self.not_found(&asked, "its aliases lead in a circle"))
    }

    /// The most exact match wins: a loaded model, one that lies here, the table, a name that clients carry.
    fn by_rules(&self, name: &str) -> Result<Meaning> {
        if let Some(at) = find(name, self.loaded.iter().map(String::as_str)) {
            return Ok(Target::Loaded(self.loaded[at].clone()).into());
        }
        if self.default_name.is_some_and(|own| find(name, std::iter::once(own)).is_some()) {
            return Ok(Target::Default.into());
        }
        if let Some(at) = find(name, self.lying().map(|model| model.name.as_str())) {
            return self.lying().nth(at).map_or_else(|| Err(self.not_found(name, "")), |model| self.lying_here(model));
        }
        match self.table.get(name) {
            Some(alias) => self.by_alias(alias),
            None if self.autoload && (self.cached)(name) => Ok(Target::Cached(name.to_owned()).into()),
            None if self.table.is_carried(name, self.purpose) => self.default(Some(name)),
            None if self.any_name && self.purpose == Purpose::Text => {
                self.default(Some(name)).map(|to| Meaning { is_substitute: true, ..to })
            }
            None => {
                let other = find(name, self.available.iter().map(|model| model.name.as_str()));
                let other = other.map(|at| Purpose::of(self.available[at].capabilities).routes());
                Err(self.not_found(name, other.unwrap_or_default()))
            }
        }
    }

    /// What lies in the model folder for this purpose. What cannot be read is for every purpose, so that its problem is told.
    fn lying(&self) -> impl Iterator<Item = &AvailableModel> + Clone {
        let fits = |model: &&AvailableModel| Purpose::of(model.capabilities) == self.purpose || model.problem.is_some();
        self.available.iter().filter(fits)
    }

    fn lying_here(&self, model: &AvailableModel) -> Result<Meaning> {
        if let Some(problem) = &model.problem {
            return Err(ApiError { param: Some("model".into()), ..problem.clone().into() });
        }
        if !self.autoload {
            let why = "it lies in the model folder, but is not loaded, and autoload is off";
            return Err(self.not_found(&model.name, why));
        }
        Ok(Target::Available(model.name.clone()).into())
    }

    fn by_alias(&self, alias: &Alias) -> Result<Meaning> {
        if !self.purpose.has(alias) && alias.state != AliasState::Unserved {
            let routes = Purpose::ALL.into_iter().find(|other| other.has(alias)).map(Purpose::routes);
            let why = format!("it is a name for {}; {}", alias.task, routes.unwrap_or("nothing here takes it"));
            return Err(self.not_found(&alias.name, &why));
        }
        if let (Some(id), true) = (&alias.weights, matches!(alias.state, AliasState::Weights | AliasState::Substitute))
        {
            if let Some(own) = self.loaded.iter().find(|own| is_same(id, own)) {
                return Ok(Target::Loaded(own.clone()).into());
            }
            let sound = |model: &&AvailableModel| model.problem.is_none() && is_same(id, &model.name);
            match self.lying().find(sound) {
                Some(model) if self.autoload => return Ok(Target::Available(model.name.clone()).into()),
                None if self.autoload && (self.cached)(id) => return Ok(Target::Cached(id.clone()).into()),
                _ => {}
            }
        }
        match alias.state {
            AliasState::Substitute => self.default(Some(&alias.name)).map(|to| Meaning { is_substitute: true, ..to }),
            AliasState::Default => self.default(Some(&alias.name)),
            AliasState::Weights => {
                let id = alias.weights.as_deref().unwrap_or_default();
                let why = format!("it is served by its own weights alone ({id}), which are not here");
                Err(self.not_found(&alias.name, &why))
            }
            AliasState::Unserved => {
                let why = format!("it is known ({}), but nothing here serves it", alias.task);
                Err(self.not_found(&alias.name, &why))
            }
        }
    }

    fn default(&self, asked: Option<&str>) -> Result<Meaning> {
        if self.has_default {
            return Ok(Target::Default.into());
        }
        match asked {
            Some(asked) => Err(self.not_found(asked, "no model is loaded")),
            None => Err(ApiError { param: Some("model".into()), ..missing("no model is loaded".into()) }),
        }
    }

    /// 404 in words that help: why, what is nearest, what there is.
    fn not_found(&self, name: &str, why: &str) -> ApiError {
        let loadable = |model: &&AvailableModel| self.autoload && model.problem.is_none();
        let lying = self.lying().filter(loadable).map(|model| model.name.as_str());
        let mut served: Vec<&str> = self.loaded.iter().map(String::as_str).collect();
        served.extend(lying.filter(|name| !self.loaded.iter().any(|own| own == name)).collect::<Vec<_>>());
        let shown: String = name.chars().take(SHOWN_MAX).collect();
        let mut message = format!("there is no model `{shown}`");
        if !why.is_empty() {
            message = format!("{message}: {why}");
        }
        // An entry of the table is far from every other in meaning, however near it is in letters.
        let of_table = self
            .table
            .iter()
            .filter(|alias| self.has_default && self.purpose.has(alias))
            .filter(|alias| matches!(alias.state, AliasState::Substitute | AliasState::Default));
        let others = of_table.map(|alias| alias.name.as_str()).filter(|_| self.table.get(name).is_none());
        if let Some(nearest) = nearest(&shown, served.iter().copied().chain(others)) {
            message.push_str(&format!("; the nearest is `{nearest}`"));
        }
        match served.is_empty() {
            true => message.push_str("; none is loaded"),
            false => {
                let more = if served.len() > LISTED_MAX { ", ..." } else { "" };
                served.truncate(LISTED_MAX);
                message.push_str(&format!("; there is: {}{more}", served.join(", ")));
            }
        }
        ApiError { param: Some("model".into()), ..missing(message) }
    }
}

fn missing(message: String) -> ApiError {
    ApiError::new(Kind::Engine(ErrorKind::ModelNotFound), message)
}

/// Where a name fits best: without letter case, then one as the path tail of the other.
fn find<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let at = |matches: &dyn Fn(&str) -> bool| names.clone().position(matches);
    at(&|own| own == name)
        .or_else(|| at(&|own| own.eq_ignore_ascii_case(stem)))
        .or_else(|| at(&|own| is_path_tail(stem, own) || is_path_tail(own, stem)))
}

/// Whether `path` ends with `/tail`, letter case aside.
fn is_path_tail(tail: &str, path: &str) -> bool {
    let start = path.len().checked_sub(tail.len()).filter(|start| *start > 0);
    start.is_some_and(|start| {
        path.as_bytes()[start - 1] == b'/' && path.as_bytes()[start..].eq_ignore_ascii_case(tail.as_bytes())
    })
}

/// Whether `name` is what a file, folder or repository with the weights of the hub's `id` is usually called: the id's last
/// part, perhaps with a quantization behind it.
fn is_same(id: &str, name: &str) -> bool {
    let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (wanted, name) = (last(id), last(name));
    let name = name.split(':').next().unwrap_or_default();
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    let rest = match name.strip_prefix(wanted.as_str()) {
        Some("") => return true,
        Some(rest) => rest.strip_prefix(['-', '.', '_']),
        None => None,
    };
    rest.is_some_and(|rest| {
        let rest = rest.strip_prefix("gguf-").unwrap_or(rest);
        let digits_behind = |prefix: &str| {
            let rest = rest.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.contains('-'))
        };
        ["gguf", "bf16", "f16", "f32", "fp16", "mxfp4", "nvfp4"].contains(&rest)
            || ["q", "iq", "tq"].into_iter().any(digits_behind)
    })
}

/// The name without percent signs, where it is encoded as in an address; one that is not stays as it is.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, others @ ..] = rest {
        let code = (*first == b'%').then(|| others.get(..2)).flatten();
        let digits = code.and_then(|code| std::str::from_utf8(code).ok()).filter(|code| !code.starts_with('+'));
        match digits.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(name), Cow::Owned)
}

#[cfg(test)]
mod tests;
