//! What was said on the command line, flag by flag, with the help that teaches it.
//! `main` reads it and hands the layer to `settings`.
//! Invariant: a flag only says; what it means, and its default, stand in the settings.

mod transcribe;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use engine::{CpuTier, KvType};

pub use transcribe::{Form, Transcribe};

use crate::settings::{ByteSize, Compat, Layer, Quantize, Secret, SpeculationMode, nearest};

/// How to start, for whoever said nothing.
pub const HOW_TO_START: &str = "lampstand serves language models to any OpenAI client, on this machine.

  lampstand --api                        start with the model that comes along, at http://127.0.0.1:5000
  lampstand --api --model PATH           start with another one
  lampstand transcribe FILE              write down what is said in a recording
  lampstand --help                       all flags, with examples";

const EXAMPLES: &str = "Examples:
  lampstand --api
      The model that comes along, for this machine alone, at http://127.0.0.1:5000.
  lampstand --api --model models/Llama-3.2-1B-Instruct-Q4_K_M.gguf
      One file. A folder with config.json and .safetensors works too.
  lampstand --api --model org/name:Q4_K_M
      A model from the hub; downloaded once, then found again without the network.
  lampstand --api --listen --api-key SECRET
      For the whole network; clients send the key as `Authorization: Bearer SECRET`.
  curl http://127.0.0.1:5000/v1/chat/completions -H 'Content-Type: application/json' \\
      -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]}'

Settings: every flag can also stand in settings.yaml, with underscores (api_port: 8080); settings.yaml.example lists them
all, and more. The variables LAMPSTAND_CPU, OPENEDAI_PORT, OPENEDAI_DEBUG, HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE,
DEFAULT_MODEL, BACKUP_MODEL, MODEL_MAPPER, OPENEDAI_EMBEDDING_MODEL, OPENEDAI_EMBEDDING_DEVICE and OPENEDAI_WHISPER_MODEL win over
flags, and flags over settings.yaml.";

/// An offline, drop-in OpenAI endpoint for one's own machine.
///
/// Start it with --api, point any OpenAI client at http://127.0.0.1:5000/v1, and chat.
#[derive(Debug, Default, Parser)]
#[command(name = "lampstand", version, after_long_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Flags {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Serve the API; without it nothing starts
    #[arg(long)]
    pub api: bool,

    /// Answer to the whole network instead of this machine alone [default: no]
    ///
    /// Set --api-key along with it.
    #[arg(long, help_heading = "Where it listens")]
    pub listen: bool,

    /// The address to bind [default: 127.0.0.1, or 0.0.0.0 with --listen]
    #[arg(long, value_name = "ADDRESS", help_heading = "Where it listens")]
    pub listen_host: Option<String>,

    /// The port; 0 takes a free one and prints it [default: 5000] [env: OPENEDAI_PORT]
    #[arg(long, value_name = "PORT", help_heading = "Where it listens")]
    pub api_port: Option<u16>,

    /// Clients must send this key as a bearer token [default: none]
    #[arg(long, value_name = "KEY", help_heading = "Where it listens")]
    pub api_key: Option<Secret>,

    /// The key for what changes the server; opens everything else too [default: none]
    #[arg(long, value_name = "KEY", help_heading = "Where it listens")]
    pub admin_key: Option<Secret>,

    /// Whose clients are served: openai, oobabooga (text-generation-webui's), or auto, by each request [default: auto]
    ///
    /// A request that names a model is OpenAI's; one that names none is text-generation-webui's, whose examples never do.
    #[arg(long, value_name = "WHOSE", help_heading = "Where it listens")]
    pub compat: Option<Compat>,

    /// What to load [default: starter/chat] [env: DEFAULT_MODEL]
    ///
    /// A folder, a .gguf file, a hub id (org/name, org/name:Q4_K_M or org/name:file.gguf), or a name under --model-dir.
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub model: Option<String>,

    /// The folder where models lie [default: models]
    #[arg(long, value_name = "FOLDER", help_heading = "Which model")]
    pub model_dir: Option<PathBuf>,

    /// The folder of your own presets, characters and instruction templates [default: templates]
    #[arg(long, value_name = "FOLDER", help_heading = "Which model")]
    pub template_dir: Option<PathBuf>,

    /// Answers when --model cannot be loaded or fails; named like it [default: none] [env: BACKUP_MODEL]
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub backup_model: Option<String>,

    /// Models loaded at the same time; the one used least recently makes room [default: 1]
    #[arg(long, value_name = "COUNT", help_heading = "Which model")]
    pub models_max: Option<usize>,

    /// What turns texts into vectors; named like --model [default: starter/embed] [env: OPENEDAI_EMBEDDING_MODEL]
    ///
    /// Loaded when it is first asked for, beside the models that --models-max counts.
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub embedding_model: Option<String>,

    /// What writes recordings down; named like --model [default: starter/whisper] [env: OPENEDAI_WHISPER_MODEL]
    ///
    /// Whisper's own names (tiny.en, base, large-v3-turbo) work too. Loaded when it is first asked for.
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub transcription_model: Option<String>,

    /// What judges texts for /v1/moderations: a classifier or a guard [default: --embedding-model] [env: LAMPSTAND_MODERATION_MODEL]
    ///
    /// Named like --model. A guard (Llama Guard) is a chat model and takes one of the places of --models-max.
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub moderation_model: Option<String>,

    /// What translates texts for /v1/translate, and recordings whose own model cannot: M2M100 or NLLB [default: the chat model] [env: LAMPSTAND_TRANSLATION_MODEL]
    ///
    /// Named like --model. Loaded when it is first asked for.
    #[arg(long, value_name = "MODEL", help_heading = "Which model")]
    pub translation_model: Option<String>,

    /// Load a model of --model-dir when a request names it: true or false [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Which model")]
    pub autoload: Option<bool>,

    /// Tokens of context per conversation [default: the model's own]
    #[arg(long, value_name = "TOKENS", help_heading = "Which model")]
    pub ctx_size: Option<u32>,

    /// Quantize float weights at load: q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, iq4_xs, iq4_nl [default: none]
    ///
    /// Weights that are quantized in their file stay as they are.
    #[arg(long, value_name = "TYPE", help_heading = "Which model")]
    pub quantize: Option<Quantize>,

    /// Never touch the network, even for a hub id [env: HF_HUB_OFFLINE]
    #[arg(long, help_heading = "Which model")]
    pub offline: bool,

    /// Conversations computed at the same time; more wait in line [default: 32]
    #[arg(long, value_name = "COUNT", help_heading = "The machine")]
    pub parallel: Option<usize>,

    /// Memory for keys and values, such as 512M or 2G [default: a share of what is free]
    #[arg(long, value_name = "BYTES", help_heading = "The machine")]
    pub kv_cache: Option<ByteSize>,

    /// Guess tokens ahead from the text (prompt-lookup) or not (none) [default: prompt-lookup]
    ///
    /// Changes how soon an answer comes, never what it says.
    #[arg(long, value_name = "HOW", help_heading = "The machine")]
    pub speculation: Option<SpeculationMode>,

    /// Tokens guessed at most per conversation and step [default: 16]
    #[arg(long, value_name = "COUNT", help_heading = "The machine")]
    pub draft_tokens_max: Option<usize>,

    /// A second, smaller model with the same vocabulary that guesses too; named like --model [default: none]
    #[arg(long, value_name = "MODEL", help_heading = "The machine")]
    pub draft_model: Option<String>,

    /// How keys and values are stored: f16, f32 or q8_0 [default: f16]
    ///
    /// q8_0 holds nearly twice as many tokens in the same memory, slightly less exactly.
    #[arg(long, value_name = "TYPE", help_heading = "The machine")]
    pub cache_type: Option<KvType>,

    /// Threads for arithmetic [default: one per core]
    #[arg(long, value_name = "COUNT", help_heading = "The machine")]
    pub threads: Option<usize>,

    /// Stay on the processor even where a GPU is there
    #[arg(long, help_heading = "The machine")]
    pub cpu: bool,

    /// Which of the processor's instructions to use [default: auto, the best] [env: LAMPSTAND_CPU]
    ///
    /// One of auto, portable, avx2, avx512, amx and neon; for comparisons, and for processors that are slower with
    /// their newest instructions.
    #[arg(long, value_name = "TIER", help_heading = "The machine")]
    pub cpu_tier: Option<CpuTier>,

    /// A settings file [default: settings.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// Log every request, never its text [env: OPENEDAI_DEBUG]
    #[arg(long)]
    pub verbose: bool,
}

/// What the program can do beside serving.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Writes a recording down.
    Transcribe(Transcribe),
}

/// What the program should print instead of starting, and the status it ends with.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// What to print.
    pub text: String,
    /// 0 for what was asked for, then it goes to the standard output; 2 for a mistake, then to the error output.
    pub status: u8,
}

impl Flags {
    /// Reads a command line, the program's name first.
    pub fn read(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, Exit> {
        let flags = Self::try_parse_from(arguments).map_err(explain)?;
        if !flags.api && flags.command.is_none() {
            return Err(Exit { text: HOW_TO_START.to_owned(), status: 2 });
        }
        Ok(flags)
    }

    /// What was said, as a layer of settings, and the settings file.
    pub fn into_layer(self) -> (Layer, Option<PathBuf>) {
        let said = |flag: bool| flag.then_some(true);
        let layer = Layer {
            listen: said(self.listen),
            listen_host: self.listen_host,
            api_port: self.api_port,
            api_key: self.api_key,
            admin_key: self.admin_key,
            model: self.model,
            model_dir: self.model_dir,
            template_dir: self.template_dir,
            backup_model: self.backup_model,
            models_max: self.models_max,
            embedding_model: self.embedding_model,
            transcription_model: self.transcription_model,
            moderation_model: self.moderation_model,
            translation_model: self.translation_model,
            autoload: self.autoload,
            ctx_size: self.ctx_size,
            quantize: self.quantize,
            offline: said(self.offline),
            parallel: self.parallel,
            kv_cache: self.kv_cache,
            speculation: self.speculation,
            compat: self.compat,
            draft_tokens_max: self.draft_tokens_max,
            draft_model: self.draft_model,
            cache_type: self.cache_type,
            threads: self.threads,
            cpu: said(self.cpu),
            cpu_tier: self.cpu_tier,
            verbose: said(self.verbose),
            ..Layer::default()
        };
        (layer, self.settings)
    }

    /// The names of all flags, with their dashes.
    pub fn names() -> Vec<String> {
        let command = Self::command();
        let names = command.get_arguments().filter_map(|argument| argument.get_long());
        names.filter(|name| !["help", "version"].contains(name)).map(|name| format!("--{name}")).collect()
    }
}

/// One line instead of clap's paragraph.
fn explain(error: clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit { text: error.to_string(), status: 0 };
    }
    let text = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => {
            let names = Flags::names();
            let nearest = nearest(flag, names.iter().map(String::as_str)).unwrap_or_default();
            format!("there is no flag `{flag}`; the nearest is `{nearest}` (lampstand --help lists all)")
        }
        _ => {
            let rendered = error.to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    };
    Exit { text: format!("lampstand: {text}"), status: 2 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags, Exit> {
        Flags::read(line.split_whitespace())
    }

    #[test]
    fn every_flag_is_read() {
        let line = "lampstand --api --listen --listen-host ::1 --api-port 1 --api-key k --admin-key a --model m \
            --model-dir d --template-dir t --settings s.yaml --ctx-size 2 --quantize Q4_K --parallel 3 --kv-cache 2G --cache-type q8_0 --threads 4 \
            --cpu --cpu-tier avx2 --offline --verbose --speculation none --draft-tokens-max 5 --draft-model s \
            --backup-model b --models-max 6 --autoload false --compat oobabooga --embedding-model e --transcription-model w \
             --moderation-model j --translation-model x";
        let (layer, file) = read(line).unwrap().into_layer();
        let wanted = Layer {
            listen: Some(true),
            listen_host: Some("::1".into()),
            api_port: Some(1),
            api_key: Some(Secret("k".into())),
            admin_key: Some(Secret("a".into())),
            model: Some("m".into()),
            model_dir: Some("d".into()),
            template_dir: Some("t".into()),
            ctx_size: Some(2),
            quantize: Some(Quantize(engine::Quantization::Q4K)),
            parallel: Some(3),
            kv_cache: Some(ByteSize(2 << 30)),
            speculation: Some(SpeculationMode::None),
            compat: Some(Compat::Oobabooga),
            draft_tokens_max: Some(5),
            draft_model: Some("s".into()),
            backup_model: Some("b".into()),
            models_max: Some(6),
            embedding_model: Some("e".into()),
            transcription_model: Some("w".into()),
            moderation_model: Some("j".into()),
            translation_model: Some("x".into()),
            autoload: Some(false),
            cache_type: Some(KvType::Q8_0),
            threads: Some(4),
            cpu: Some(true),
            cpu_tier: Some(CpuTier::Avx2),
            offline: Some(true),
            verbose: Some(true),
            ..Layer::default()
        };
        assert_eq!((layer, file), (wanted, Some("s.yaml".into())));
    }

    #[test]
    fn nothing_said_leaves_every_setting_to_the_layers_below() {
        assert_eq!(read("lampstand --api").unwrap().into_layer().0, Layer::default());
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let error = |line: &str| {
            let exit = read(line).unwrap_err();
            assert_eq!((exit.status, exit.text.lines().count()), (2, 1), "{}", exit.text);
            exit.text
        };
        assert!(error("lampstand --api --api-prot 3").contains("nearest is `--api-port`"));
        assert!(error("lampstand --api --api-port many").contains("--api-port"));
        assert!(error("lampstand --api --api-port").contains("--api-port"));
        assert!(error("lampstand --api --speculation maybe").contains("--speculation"));
        assert!(error("lampstand --api --compat azure").contains("oobabooga"));
        assert!(error("lampstand --api --kv-cache big").contains("--kv-cache"));
        assert!(error("lampstand --api --cpu-tier mmx").contains("avx512"));
        assert!(error("lampstand --api --cache-type q3").contains("q8_0"));
        let text = error("lampstand --api --quantize q9");
        assert!(text.contains("--quantize") && text.contains("q8_0") && text.contains("iq4_nl"), "{text}");
        assert!(error("lampstand --api stray").contains("stray"));
    }

    #[test]
    fn a_recording_is_written_down_without_a_server() {
        let line =
            "lampstand transcribe a.mp3 --model base --language de --translate --format srt --output a.srt --threads 3";
        let Some(Command::Transcribe(said)) = read(line).unwrap().command else { panic!("no command") };
        let Transcribe { file, language, translate, format, output, .. } = &said;
        assert_eq!((file, language.as_deref(), *translate), (&PathBuf::from("a.mp3"), Some("de"), true));
        assert_eq!((*format, output.clone()), (Form::Srt, Some("a.srt".into())));
        let layer = Layer { transcription_model: Some("base".into()), threads: Some(3), ..Layer::default() };
        assert_eq!(said.layer(), layer);
        for line in ["lampstand transcribe", "lampstand --api transcribe a", "lampstand transcribe a --format doc"] {
            assert_eq!(read(line).unwrap_err().status, 2, "{line}");
        }
        assert!(read("lampstand transcribe --help").unwrap_err().text.contains("--translate"));
        assert!(read("lampstand --api").unwrap().command.is_none());
    }

    #[test]
    fn without_api_it_says_how_to_start() {
        assert_eq!(read("lampstand").unwrap_err(), Exit { text: HOW_TO_START.into(), status: 2 });
    }

    #[test]
    fn help_names_every_flag_and_an_example() {
        let exit = read("lampstand --help").unwrap_err();
        assert_eq!(exit.status, 0);
        assert!(Flags::names().iter().all(|name| exit.text.contains(name.as_str())));
        assert!(exit.text.contains("lampstand --api --listen --api-key"));
    }
}
