//! What the three modes make of a conversation: prompts, stop strings, and texts that go too far.
//!
//! *Invariant*: the scenes are written for these tests.

#![allow(clippy::unwrap_used)]

use prompt::modes::{self, Mode, ModePrompt, Scene, Templates};
use prompt::{Conversation, Message, RenderOptions, SpecialTokens, Template, TemplateError, character, instruction};

fn template(source: &str) -> Template {
    Template::compile(source, SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) }).unwrap()
}

fn scene() -> Scene {
    Scene {
        user_name: "Jo".into(),
        bot_name: "Mara".into(),
        context: "{{char}} bakes for <USER>.".into(),
        greeting: "Bread, {{user}}?".into(),
        user_bio: "{{User}} is tall.".into(),
    }
}

fn rendered(mode: Mode, scene: &Scene, messages: &[Message], goes_on: bool) -> Result<ModePrompt, TemplateError> {
    let (chat, instruct) = (template(modes::DEFAULT_CHAT_TEMPLATE), template(&instruction::by_name("ChatML").unwrap()));
    let templates = Templates { instruct: &instruct, chat: &chat, command: "As <|character|>:\n<|prompt|>" };
    let options =
        RenderOptions { continue_final_message: goes_on, add_generation_prompt: !goes_on, ..RenderOptions::default() };
    modes::render(mode, scene, &Conversation::new(messages.iter().cloned()), templates, &options)
}

#[test]
fn a_chat_is_a_script() {
    let turns = [Message::user("Two {{char}} rolls."), Message::assistant("Here."), Message::user("Thanks.")];
    let prompt = rendered(Mode::Chat, &scene(), &turns, false).unwrap();
    assert_eq!(
        prompt.text,
        "Mara bakes for Jo.\n\nJo is tall.\n\nMara: Bread, Jo?\nJo: Two {{char}} rolls.\nMara: Here.\nJo: Thanks.\nMara:"
    );
    assert_eq!(prompt.stop, ["\nJo:", "\nMara:"]);
    assert_eq!(prompt.turn_end, [""; 0]);
    let bare = rendered(Mode::Chat, &Scene::default(), &turns[2..], false).unwrap();
    assert_eq!((bare.text.as_str(), bare.stop), ("You: Thanks.\nAI:", vec!["\nYou:".into(), "\nAI:".into()]));
}

#[test]
fn system_messages_join_the_context() {
    let turns = [Message::system("It rains."), Message::assistant("Hm."), Message::user("Hi")];
    let prompt = rendered(Mode::Chat, &scene(), &turns, false).unwrap();
    assert_eq!(prompt.text, "Mara bakes for Jo.\n\nIt rains.\n\nJo is tall.\n\nMara: Hm.\nJo: Hi\nMara:");
}

#[test]
fn the_last_line_can_be_gone_on_with() {
    let scene = Scene { greeting: String::new(), context: String::new(), user_bio: String::new(), ..scene() };
    let turns = [Message::user("Hi"), Message::assistant("Good mor")];
    assert_eq!(rendered(Mode::Chat, &scene, &turns, true).unwrap().text, "Jo: Hi\nMara: Good mor");
    assert_eq!(
        rendered(Mode::ChatInstruct, &scene, &turns, true).unwrap().text,
        "<|im_start|>user\nAs Mara:\nJo: Hi\n<|im_end|>\n<|im_start|>assistant\nMara: Good mor"
    );
    assert_eq!(rendered(Mode::Chat, &scene, &[], true).unwrap().text, "Mara:");
}

#[test]
fn chat_instruct_sets_the_script_as_a_task() {
    let prompt = rendered(Mode::ChatInstruct, &scene(), &[Message::system("Be brief."), Message::user("Hi")], false);
    let prompt = prompt.unwrap();
    assert_eq!(
        prompt.text,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAs Mara:\nMara bakes for Jo.\n\nJo is tall.\n\n\
         Mara: Bread, Jo?\nJo: Hi\n<|im_end|>\n<|im_start|>assistant\nMara:"
    );
    assert_eq!(prompt.stop, ["\nJo:", "\nMara:"]);
    assert_eq!(prompt.turn_end, ["<|im_end|>", "<|im_start|>user"]);
}

#[test]
fn instruct_knows_no_character() {
    let prompt = rendered(Mode::Instruct, &scene(), &[Message::user("Hi")], false).unwrap();
    assert_eq!(prompt.text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!((prompt.stop.len(), prompt.turn_end.len()), (0, 2));
}

#[test]
fn a_chat_template_of_ones_own_rules_prompt_and_stops() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}[{{ m.content }}|{{ user_bio }}]\
        {% else %}<{{ name1 if m.role == 'user' else name2 }}>{{ m.content }}<end>{% endif %}{% endfor %}";
    let (chat, instruct) = (template(source), template("{{ messages[0].content }}"));
    let templates = Templates { instruct: &instruct, chat: &chat, command: modes::DEFAULT_COMMAND };
    let conversation = Conversation::new([Message::user("Hi")]);
    let options = RenderOptions::default();
    let prompt = modes::render(Mode::Chat, &scene(), &conversation, templates, &options).unwrap();
    assert_eq!(prompt.text, "[Mara bakes for Jo.|Jo is tall.]<Mara>Bread, Jo?<end><Jo>Hi<end><Mara>");
    assert_eq!(prompt.stop, ["<end>", "<Jo>", "<end><Mara>"]);
    // A format that leaves the open line out cannot be talked in.
    assert!(modes::render(Mode::ChatInstruct, &scene(), &conversation, templates, &options).is_err());
}

#[test]
fn shipped_characters_speak() {
    for name in character::names() {
        let scene = Scene::from(character::by_name(name).unwrap());
        let prompt = rendered(Mode::Chat, &scene, &[Message::user("Hi")], false).unwrap();
        assert!(prompt.text.ends_with(&format!("\nYou: Hi\n{}:", scene.bot_name)), "{}", prompt.text);
        assert!(!prompt.text.contains("{{"), "{}", prompt.text);
        assert_eq!(prompt.stop, ["\nYou:".to_owned(), format!("\n{}:", scene.bot_name)]);
    }
}

#[test]
fn modes_have_names() {
    for name in Mode::NAMES {
        assert_eq!(name.parse::<Mode>().unwrap().as_str(), name);
    }
    assert!("Chat".parse::<Mode>().is_err());
}

#[test]
fn texts_are_bounded() {
    let long = Scene { user_name: "x".repeat(2000), ..scene() };
    assert!(matches!(rendered(Mode::Chat, &long, &[], false), Err(TemplateError::Limit(_))));
    let grows = Scene { user_name: "x".repeat(1000), context: "{{user}}".repeat(10_000), ..scene() };
    assert!(matches!(rendered(Mode::Chat, &grows, &[], false), Err(TemplateError::Limit(_))));
}
