//! A text with a gap as a prompt: for models whose vocabulary marks its parts.
//! The completions route asks for it where a request brings a suffix.
//! Invariant: the prompt is prefix mark, prefix, suffix mark, suffix, middle mark, behind the begin token if one is wanted.

use engine::{Engine, FillIn, Prompt};

use crate::error::{ApiError, Result};

/// `prompts` with `suffix` behind their gaps. Tokenizes, so call it where blocking is allowed.
///
/// # Errors
/// 400 naming `suffix` if the model cannot fill in.
pub fn with_suffix(engine: &Engine, model: &str, prompts: Vec<Prompt>, suffix: &str) -> Result<Vec<Prompt>> {
    let Some(marks) = engine.fill_in(model)? else {
        let message = format!("`suffix` is not supported by `{model}`: its vocabulary has no tokens that mark a gap");
        return Err(ApiError::unsupported("suffix", message));
    };
    let suffix = engine.tokenize(model, suffix, false)?;
    let around = |prompt| around(engine, model, prompt, &suffix, &marks);
    prompts.into_iter().map(around).collect()
}

fn around(engine: &Engine, model: &str, prompt: Prompt, suffix: &[u32], marks: &FillIn) -> Result<Prompt> {
    let (begin, prefix) = match prompt {
        Prompt::Text { text, add_special } => {
            let begin = if add_special { &marks.begin[..] } else { &[] };
            (begin, engine.tokenize(model, &text, false)?)
        }
        Prompt::Tokens(tokens) => (&[][..], tokens),
    };
    let parts = [begin, &[marks.prefix], &prefix, &[marks.suffix], suffix, &[marks.middle]];
    Ok(Prompt::Tokens(parts.concat()))
}
