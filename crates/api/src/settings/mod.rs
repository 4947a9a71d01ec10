//! What the settings mean: the compiled-in example, then settings.yaml, then flags, then the environment, the later winning.
//! `main` resolves them once; `server` and the routes read the result. With `cli`, the only reader of the environment.
//! Invariant: `settings.yaml.example` is the lowest layer, so that documented and real defaults cannot differ.

mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{CpuTier, EngineConfig, HubConfig, KvType, ModelSource, Overrides, Speculation};
use serde::Deserialize;

pub use values::{ByteSize, Compat, Quantize, Secret, SpeculationMode, nearest};

/// The commented defaults.
pub const EXAMPLE: &str = include_str!("../../../../settings.yaml.example");

/// The file that is read when no other is named, if it is there.
const FILE_NAME: &str = "settings.yaml";
/// Bytes of a settings file; a larger one was named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Declares the settings once: the layer where each may be absent, the result where those with a default are not.
macro_rules! settings {
    (required { $($(#[doc = $doc:literal])* $name:ident: $type:ty,)* }
     optional { $($(#[doc = $optional_doc:literal])* $optional:ident: $optional_type:ty,)* }) => {
        /// One source of settings; what it does not say is none.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs, reason = "the fields are those of `Settings`, where they are described")]
        pub struct Layer {
            $(pub $name: Option<$type>,)*
            $(pub $optional: Option<$optional_type>,)*
        }

        /// All settings, resolved.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])* pub $name: $type,)*
            $($(#[doc = $optional_doc])* pub $optional: Option<$optional_type>,)*
        }

        /// The names of all settings.
        pub const NAMES: &[&str] = &[$(stringify!($name),)* $(stringify!($optional),)*];

        impl Layer {
            /// This layer where it says something, else the one below.
            fn over(self, below: Self) -> Self {
                Self {
                    $($name: self.$name.or(below.$name),)*
                    $($optional: self.$optional.or(below.$optional),)*
                }
            }

            fn complete(self) -> Result<Settings, String> {
                Ok(Settings {
                    $($name: self.$name.ok_or(concat!("settings.yaml.example lacks `", stringify!($name), "`"))?,)*
                    $($optional: self.$optional,)*
                })
            }
        }
    };
}

settings! {
    required {
        /// Answer to the whole network.
        listen: bool,
        /// Port; 0 takes a free one.
        api_port: u16,
        /// More names under which a loopback server may be called.
        allowed_hosts: Vec<String>,
        /// Whose clients are served.
        compat: Compat,
        /// What to load.
        model: String,
        /// Where models lie.
        model_dir: PathBuf,
        /// Where presets, characters and instruction templates lie.
        template_dir: PathBuf,
        /// Models loaded at the same time.
        models_max: usize,
        /// Load what lies here when a request names it.
        autoload: bool,
        /// More names for models.
        aliases: BTreeMap<String, String>,
        /// Sequences computed at the same time.
        parallel: usize,
        /// Reuse earlier prompts' work.
        prefix_cache: bool,
        /// How tokens are guessed ahead.
        speculation: SpeculationMode,
        /// Tokens guessed at most per sequence and step.
        draft_tokens_max: usize,
        /// How keys and values are stored.
        cache_type: KvType,
        /// What turns texts into vectors.
        embedding_model: String,
        /// Where it computes.
        embedding_device: String,
        /// What writes recordings down.
        transcription_model: String,
        /// Largest recording.
        upload_bytes_max: ByteSize,
        /// Recordings that are here at once.
        uploads_max: usize,
        /// Texts, documents or pairs of one request.
        inputs_max: usize,
        /// The score from which moderation flags a text.
        moderation_threshold: f32,
        /// Stay on the CPU.
        cpu: bool,
        /// Which of the CPU's instructions the kernels use.
        cpu_tier: CpuTier,
        /// Never touch the network.
        offline: bool,
        /// Base address of the hub.
        hf_endpoint: String,
        /// Largest body.
        body_bytes_max: ByteSize,
        /// Requests open at once.
        requests_max: usize,
        /// Generations that may wait.
        queue_requests_max: usize,
        /// Prompt tokens that may wait.
        queue_tokens_max: usize,
        /// Tokens per step.
        step_tokens_max: usize,
        /// Largest `n`.
        choices_max: u32,
        /// Prompts per completions request.
        prompts_max: usize,
        /// Silence after which a stream sends a comment, in seconds.
        keep_alive_s: u64,
        /// What answers under way get when the server stops, in seconds.
        stop_grace_s: u64,
        /// Log every request.
        verbose: bool,
    }
    optional {
        /// Address to bind.
        listen_host: String,
        /// Key of clients.
        api_key: Secret,
        /// Key of whoever changes the server.
        admin_key: Secret,
        /// Tokens of context per sequence.
        ctx_size: u32,
        /// Bytes for keys and values.
        kv_cache: ByteSize,
        /// Answers when the first model fails.
        backup_model: String,
        /// A second model that guesses.
        draft_model: String,
        /// What judges texts for moderation.
        moderation_model: String,
        /// What translates texts.
        translation_model: String,
        /// Where the files lie that requests search by name.
        search_dir: PathBuf,
        /// What float weights become at load.
        quantize: Quantize,
        /// Threads for arithmetic.
        threads: usize,
        /// Token for gated models.
        hf_token: Secret,
        /// Folder of the shared download cache.
        hf_home: PathBuf,
        /// Time until an answer must be complete, in seconds.
        timeout_s: u64,
        /// Sampler values for requests that say nothing else.
        preset: String,
        /// Who answers in the chat modes.
        character: String,
        /// What the user is called there.
        name1: String,
        /// What the character is called there.
        name2: String,
        /// Who the user is.
        user_bio: String,
        /// The prompt format that is used in place of the model's own, as Jinja text.
        instruction_template_str: String,
        /// The prompt format of the chat modes, as Jinja text.
        chat_template_str: String,
    }
}

impl Settings {
    /// Reads the file that `file` names (or settings.yaml in the working folder, if it is there) and the environment, and
    /// puts them around `flags`. The error is one line for the person who started the program.
    pub fn resolve(flags: Layer, file: Option<&Path>) -> Result<Self, String> {
        let file_layer = match file {
            Some(path) => Layer::read_file(path)?,
            None if Path::new(FILE_NAME).is_file() => Layer::read_file(Path::new(FILE_NAME))?,
            None => Layer::default(),
        };
        Self::from_layers(flags, file_layer, |name| std::env::var(name).ok())
    }

    /// The same without touching files or the environment; `variable` stands for the latter.
    pub fn from_layers(flags: Layer, file: Layer, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let example = Layer::from_yaml(EXAMPLE, "settings.yaml.example")?;
        let mut environment = Layer::from_environment(&variable)?;
        // Aliases add up, where all other settings replace one another.
        if let Some(mapped) = &mut environment.aliases {
            file.aliases.iter().flatten().for_each(|(name, to)| {
                mapped.entry(name.clone()).or_insert_with(|| to.clone());
            });
        }
        let mut settings = environment.over(flags).over(file).over(example).complete()?;
        if settings.hf_home.is_none() {
            let home = variable("HOME").or_else(|| variable("USERPROFILE"));
            settings.hf_home = home.map(|home| Path::new(&home).join(".cache").join("huggingface"));
        }
        let optional = [
            &mut settings.draft_model,
            &mut settings.backup_model,
            &mut settings.moderation_model,
            &mut settings.translation_model,
        ];
        for model in optional {
            *model = model.take().filter(|model| !model.trim().is_empty());
        }
        for key in [&mut settings.api_key, &mut settings.admin_key] {
            *key = key.take().filter(|key| !key.0.trim().is_empty());
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("parallel", self.parallel),
            ("models_max", self.models_max),
            ("requests_max", self.requests_max),
            ("step_tokens_max", self.step_tokens_max),
            ("prompts_max", self.prompts_max),
            ("inputs_max", self.inputs_max),
            ("uploads_max", self.uploads_max),
            ("choices_max", self.choices_max as usize),
            ("threads", self.threads.unwrap_or(1)),
            ("ctx_size", self.ctx_size.unwrap_or(1) as usize),
            ("timeout_s", usize::try_from(self.timeout_s.unwrap_or(1)).unwrap_or(usize::MAX)),
            ("keep_alive_s", usize::try_from(self.keep_alive_s).unwrap_or(usize::MAX)),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("`{name}` must be at least 1"));
        }
        if !(0.0..=1.0).contains(&self.moderation_threshold) {
            let said = self.moderation_threshold;
            return Err(format!("`moderation_threshold` must lie between 0 and 1, but is {said}"));
        }
        let device = self.embedding_device.split(':').next().unwrap_or_default();
        if !["cpu", "auto", "cuda"].contains(&device) {
            let said = &self.embedding_device;
            return Err(format!("`embedding_device` must be cpu, auto or cuda, but is `{said}`"));
        }
        Ok(())
    }

    /// Where to bind. The name in `listen_host` is looked up.
    pub fn address(&self) -> Result<SocketAddr, String> {
        match &self.listen_host {
            None if self.listen => Ok((Ipv4Addr::UNSPECIFIED, self.api_port).into()),
            None => Ok((Ipv4Addr::LOCALHOST, self.api_port).into()),
            Some(host) => {
                let host = host.trim().trim_start_matches('[').trim_end_matches(']');
                if let Ok(address) = host.parse::<IpAddr>() {
                    return Ok((address, self.api_port).into());
                }
                let found = (host, self.api_port).to_socket_addrs().ok().and_then(|mut found| found.next());
                found.ok_or_else(|| format!("`{host}` (listen_host) is no address of this machine"))
            }
        }
    }

    /// What the engine needs to know.
    pub fn engine_config(&self) -> EngineConfig {
        EngineConfig {
            kv_type: self.cache_type,
            context_tokens: self.ctx_size,
            parallel: self.parallel,
            kv_bytes: self.kv_cache.map(|size| size.0),
            threads: self.threads,
            quantize: self.quantize.map(|quantize| quantize.0),
            cpu: self.cpu,
            cpu_tier: self.cpu_tier,
            queue_requests_max: self.queue_requests_max,
            queue_tokens_max: self.queue_tokens_max,
            step_tokens_max: self.step_tokens_max,
            timeout: self.timeout_s.map(Duration::from_secs),
            prefix_cache: self.prefix_cache,
            speculation: Speculation {
                prompt_lookup: self.speculation == SpeculationMode::PromptLookup,
                draft_tokens_max: self.draft_tokens_max,
            },
            hub: HubConfig {
                endpoint: self.hf_endpoint.trim_end_matches('/').to_owned(),
                token: self.hf_token.as_ref().map(|token| token.0.clone()),
                home: self.hf_home.clone().unwrap_or_else(|| HubConfig::default().home),
                offline: self.offline,
            },
        }
    }

    /// Which model to load, and the name to serve it under: as it was called, a file or folder by its own name.
    pub fn model_source(&self) -> ModelSource {
        self.source_of(&self.model)
    }

    /// The same for any model that is named as `model` is.
    pub fn source_of(&self, said: &str) -> ModelSource {
        let path_said = said;
        let said = said.trim_end_matches('/');
        let below_model_dir = Path::new(said).strip_prefix(&self.model_dir).ok();
        let path = below_model_dir.unwrap_or(Path::new(said));
        let is_plain_path = below_model_dir.is_none() && (path.is_absolute() || said.starts_with('.') || path.exists());
        let name = if is_plain_path { path.file_name().map(Path::new).unwrap_or(path) } else { path };
        let name = name.to_string_lossy();
        // A selector such as `org/name:file.gguf` stays as it is, for it tells two files of one repository apart.
        let name = if name.contains(':') { &name } else { name.strip_suffix(".gguf").unwrap_or(&name) };
        ModelSource {
            name: name.to_owned(),
            path: path_said.to_owned(),
            model_dir: self.model_dir.clone(),
            draft_model: self.draft_model.clone(),
            overrides: Overrides::default(),
        }
    }
}

impl Layer {
    /// Reads a settings file.
    pub fn read_file(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let metadata = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(format!("{shown}: too large for a settings file"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        Self::from_yaml(&text, &shown.to_string())
    }

    /// Reads YAML; `origin` names it in errors, which also name key and line.
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self, String> {
        let text = &with_our_keys(text);
        let value: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(text).map_err(|error| format!("{origin}: {error}"))?;
        let mapping = match value {
            serde_yaml_ng::Value::Null => return Ok(Self::default()),
            serde_yaml_ng::Value::Mapping(mapping) => mapping,
            _ => return Err(format!("{origin}: expected lines of `name: value`")),
        };
        for key in mapping.keys() {
            let key = key.as_str().unwrap_or("?");
            if !NAMES.contains(&key) {
                let nearest = nearest(key, NAMES.iter().copied()).unwrap_or_default();
                let line = line_of(key, text);
                return Err(format!("{origin}: line {line}: there is no setting `{key}`; the nearest is `{nearest}`"));
            }
        }
        // A value that is refused only once it was read has lost its place: the path still knows the key.
        serde_path_to_error::deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
            let (key, message) = (error.path().to_string(), error.inner().to_string());
            if message.contains(&key) { format!("{origin}: {message}") } else { format!("{origin}: {key}: {message}") }
        })
    }

    /// The variables that are honoured, by the names that other tools use. An empty variable counts as absent.
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let switch = |name: &str| match variable(name).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("1" | "true" | "yes" | "on") => Ok(Some(true)),
            Some("0" | "false" | "no" | "off") => Ok(Some(false)),
            Some(other) => Err(format!("the variable {name} must be 1 or 0, but is `{other}`")),
        };
        let port = |text: String| {
            let port = text.trim().parse::<u16>();
            port.map_err(|_| format!("the variable OPENEDAI_PORT must be a port, but is `{text}`"))
        };
        let mapper = |text: String| {
            let map: Result<BTreeMap<String, String>, _> = serde_json::from_str(&text);
            map.map_err(|error| format!("the variable MODEL_MAPPER must be a JSON object of names: {error}"))
        };
        let tier = |text: String| text.parse().map_err(|error| format!("the variable LAMPSTAND_CPU: {error}"));
        Ok(Self {
            api_port: variable("OPENEDAI_PORT").map(port).transpose()?,
            verbose: switch("OPENEDAI_DEBUG")?,
            embedding_model: variable("OPENEDAI_EMBEDDING_MODEL"),
            embedding_device: variable("OPENEDAI_EMBEDDING_DEVICE"),
            transcription_model: variable("OPENEDAI_WHISPER_MODEL"),
            moderation_model: variable("LAMPSTAND_MODERATION_MODEL"),
            translation_model: variable("LAMPSTAND_TRANSLATION_MODEL"),
            model: variable("DEFAULT_MODEL"),
            backup_model: variable("BACKUP_MODEL"),
            aliases: variable("MODEL_MAPPER").map(mapper).transpose()?,
            cpu_tier: variable("LAMPSTAND_CPU").map(tier).transpose()?,
            offline: switch("HF_HUB_OFFLINE")?,
            hf_endpoint: variable("HF_ENDPOINT"),
            hf_token: variable("HF_TOKEN").map(Secret),
            hf_home: variable("HF_HOME").map(PathBuf::from),
            ..Self::default()
        })
    }
}

/// Keys of text-generation-webui's settings.yaml, and ours for the same.
const THEIR_KEYS: [(&str, &str); 3] = [
    ("openai-embedding_model", "embedding_model"),
    ("openai-embedding_device", "embedding_device"),
    ("openai-debug", "verbose"),
];

/// The text with our keys in the place of theirs; every line stays where it is.
fn with_our_keys(text: &str) -> String {
    let renamed = |line: &str| {
        let found = THEIR_KEYS.iter().find_map(|(theirs, ours)| Some((ours, line.strip_prefix(theirs)?)));
        found.filter(|(_, rest)| rest.trim_start().starts_with(':')).map(|(ours, rest)| format!("{ours}{rest}"))
    };
    let lines: Vec<String> = text.split('\n').map(|line| renamed(line).unwrap_or_else(|| line.to_owned())).collect();
    lines.join("\n")
}

/// The line, from 1, where `key` is set.
fn line_of(key: &str, text: &str) -> usize {
    let is_it = |line: &str| {
        let rest = line.trim_start().trim_start_matches(['"', '\'']).strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    };
    text.lines().position(is_it).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests;
