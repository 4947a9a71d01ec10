//! What a classifier's class, or a guard's hazard, is among OpenAI's categories, told by its name.
//! `moderation` asks it where the model classifies, and `guard` for the hazards of its prompt.
//! Invariant: a name that fits nothing is said to be unknown; it is never taken for harmless.

use engine::Engine;

use super::windows;
use crate::error::{ApiError, Result};
use crate::services::models::Lease;
use crate::services::vectors::classify;

/// What special tokens take of a classifier's longest text at most. A token is a byte long at least, so a window of as many
/// bytes as are left always fits.
const SPECIAL_TOKENS_MAX: usize = 8;
/// Labels that are told in an error.
const LABELS_TOLD_MAX: usize = 20;

/// Labels that stand for a category by letters alone, as in KoalaAI/Text-Moderation.
const CODES: [(&str, &[&str]); 9] = [
    ("h", &["hate"]),
    ("h2", &["hate", "hate/threatening"]),
    ("hr", &["harassment"]),
    ("s", &["sexual"]),
    ("s3", &["sexual", "sexual/minors"]),
    ("sh", &["self-harm"]),
    ("v", &["violence"]),
    ("v2", &["violence", "violence/graphic"]),
    ("ok", &[]),
];

/// Labels for what is harmless, and their beginnings.
const HARMLESS: [&str; 9] = ["safe", "neutral", "normal", "none", "clean", "benign", "harmless", "appropriate", "sfw"];

/// Parts of a label and the categories that it then has; the first that fits counts.
const PARTS: [(&[&str], &[&str]); 14] = [
    (&["child", "minors", "csam", "underage"], &["sexual", "sexual/minors"]),
    (&["non violent crime", "nonviolent crime"], &["illicit"]),
    (&["violent crime"], &["violence", "illicit/violent"]),
    (&["violence and hate"], &["violence", "hate"]),
    (&["self harm", "selfharm", "suicid"], &["self-harm"]),
    (&["hate", "racis", "sexis", "identity", "homophob", "discriminat", "extremis"], &["hate"]),
    (&["threat"], &["harassment", "harassment/threatening"]),
    (&["weapon", "gun", "explosive", "terror"], &["illicit/violent"]),
    (&["sex", "porn", "nsfw", "erotic", "hentai", "nud"], &["sexual"]),
    (&["graphic", "gore"], &["violence", "violence/graphic"]),
    (&["violen"], &["violence"]),
    (
        &["toxic", "insult", "harass", "offens", "abus", "bully", "obscen", "profan", "swear", "defam", "cyber"],
        &["harassment"],
    ),
    (&["crim", "illicit", "illegal", "drug", "substance", "fraud", "scam", "hack", "malware", "theft"], &["illicit"]),
    (&["unsafe", "harmful", "flagged"], &["illicit"]),
];

/// The categories of `names` that a label stands for: nothing for what is harmless, none for a label that tells nothing.
pub(super) fn categories(label: &str, names: &[String]) -> Option<Vec<usize>> {
    let plain = |text: &str| {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ").to_lowercase()
    };
    let label = plain(label);
    if let Some(same) = names.iter().position(|name| plain(name) == label) {
        return Some(vec![same]);
    }
    let places = |wanted: &[&str]| -> Vec<usize> {
        wanted.iter().filter_map(|wanted| names.iter().position(|name| name == wanted)).collect()
    };
    if let Some((_, wanted)) = CODES.iter().find(|(code, _)| *code == label) {
        return Some(places(wanted));
    }
    let is_no = ["non ", "not ", "no ", "nothate", "nontoxic", "nonhate"].iter().any(|no| label.starts_with(no));
    if HARMLESS.contains(&label.as_str()) || (is_no && !label.contains("crime") && !label.contains("consen")) {
        return Some(Vec::new());
    }
    let found = PARTS.iter().find(|(parts, _)| parts.iter().any(|part| label.contains(part)));
    found.map(|(_, wanted)| places(wanted))
}

/// The scores of texts by a classifier: in each category the probability of its likeliest class that belongs there.
pub(super) async fn scores(
    engine: &Engine,
    lease: &Lease,
    texts: &[String],
    names: &[String],
) -> Result<Vec<Vec<f32>>> {
    let bytes_max = (lease.model().input_tokens_max as usize).saturating_sub(SPECIAL_TOKENS_MAX);
    let pieces: Vec<(usize, String)> = texts
        .iter()
        .enumerate()
        .flat_map(|(i, text)| windows(text, bytes_max).map(move |piece| (i, piece.to_owned())))
        .collect();
    let judged = classify(engine, lease, pieces.iter().map(|(_, piece)| piece.clone()).collect(), true).await?;
    let labels = judged.first().map(|first| &first.labels[..]).unwrap_or_default();
    let known: Vec<Option<Vec<usize>>> = labels.iter().map(|label| categories(&label.name, names)).collect();
    if known.iter().flatten().all(Vec::is_empty) {
        let told: Vec<&str> = labels.iter().take(LABELS_TOLD_MAX).map(|label| label.name.as_str()).collect();
        let model = &lease.model().name;
        let message = format!("the classes of `{model}` ({}) are none of those that moderation knows", told.join(", "));
        return Err(ApiError::invalid("model", message));
    }
    let mut scores = vec![vec![0.0_f32; names.len()]; texts.len()];
    for ((text, _), classes) in pieces.iter().zip(&judged) {
        for (label, places) in classes.labels.iter().zip(&known) {
            for &place in places.iter().flatten() {
                scores[*text][place] = scores[*text][place].max(label.probability);
            }
        }
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::moderation::Moderation;

    fn named(label: &str) -> Option<Vec<String>> {
        let moderation = Moderation::default();
        let mut found: Vec<String> =
            categories(label, moderation.names())?.into_iter().map(|at| moderation.names()[at].clone()).collect();
        found.sort();
        Some(found)
    }

    #[test]
    fn labels_of_known_classifiers_find_their_categories() {
        for (label, wanted) in [
            ("toxic", &["harassment"][..]),
            ("severe_toxicity", &["harassment"]),
            ("identity_hate", &["hate"]),
            ("threat", &["harassment", "harassment/threatening"]),
            ("sexual_explicit", &["sexual"]),
            ("NSFW", &["sexual"]),
            ("hate", &["hate"]),
            ("self_harm_intent", &["self-harm/intent"]),
            ("sexual/minors", &["sexual/minors"]),
            ("S3", &["sexual", "sexual/minors"]),
            ("V2", &["violence", "violence/graphic"]),
            ("OK", &[]),
            ("nothate", &[]),
            ("non-toxic", &[]),
            ("not_offensive", &[]),
            ("safe", &[]),
            ("unsafe", &["illicit"]),
            ("Non-Violent Crimes", &["illicit"]),
            ("Violent Crimes", &["illicit/violent", "violence"]),
            ("Child Sexual Exploitation", &["sexual", "sexual/minors"]),
            ("Suicide & Self-Harm", &["self-harm"]),
        ] {
            assert_eq!(named(label), Some(wanted.iter().map(|name| (*name).to_owned()).collect()), "{label}");
        }
        for label in ["LABEL_0", "positive", "", "YES"] {
            assert_eq!(named(label), None, "{label}");
        }
    }

    #[test]
    fn every_category_of_the_table_exists() {
        let moderation = Moderation::default();
        for wanted in CODES.iter().flat_map(|(_, wanted)| *wanted).chain(PARTS.iter().flat_map(|(_, wanted)| *wanted)) {
            assert!(moderation.names().iter().any(|name| name == wanted), "{wanted}");
        }
    }
}
