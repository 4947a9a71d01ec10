//! Conversations that are longer than the model's context: which of the oldest turns to leave out so that the rest fits.
//! The turn of a chat asks where the request allows it.
//! Invariant: system messages and the last turn stay, what stays keeps its order, and no more is dropped than must be.

use prompt::{Conversation, Role};

use crate::error::Result;

/// Tokens left for an answer whose length nobody bounded: this, or a quarter of a small context.
const ANSWER_TOKENS: usize = 512;

/// How many tokens a prompt may have: the context without room for the answer.
pub fn prompt_room(context: usize, max_tokens: Option<u32>) -> usize {
    let answer = max_tokens.map_or(ANSWER_TOKENS.min(context / 4), |max| max as usize).max(1);
    context.saturating_sub(answer)
}

/// `conversation` without as many of its oldest turns as must go before `fits` says yes, and how many messages these were.
/// If even the last turn alone is too long, nothing is dropped: the refusal then tells the whole truth.
///
/// Asks `fits` as often as the number of turns has binary digits.
pub fn shorten(
    conversation: &Conversation,
    mut fits: impl FnMut(&Conversation) -> Result<bool>,
) -> Result<(Conversation, usize)> {
    if fits(conversation)? {
        return Ok((conversation.clone(), 0));
    }
    // A turn begins with what the user says; the first begins with whatever comes first.
    let messages = &conversation.messages;
    let starts: Vec<usize> = (0..messages.len()).filter(|&index| messages[index].role == Role::User).collect();
    // Among those from which on it might fit; the last one is the least that can stay.
    let (mut low, mut high) = (starts.iter().position(|&start| start > first_said(conversation)), starts.len());
    let mut found = None;
    while let Some(from) = low.filter(|&from| from < high) {
        let middle = from + (high - from) / 2;
        let shorter = without_before(conversation, starts[middle]);
        if fits(&shorter)? {
            found = Some(shorter);
            high = middle;
        } else {
            low = Some(middle + 1);
        }
    }
    let shorter = found.unwrap_or_else(|| conversation.clone());
    let dropped = messages.len() - shorter.messages.len();
    Ok((shorter, dropped))
}

fn first_said(conversation: &Conversation) -> usize {
    conversation.messages.iter().position(|message| !message.role.is_system()).unwrap_or(0)
}

fn without_before(conversation: &Conversation, start: usize) -> Conversation {
    let keeps = |(index, message): &(usize, &prompt::Message)| *index >= start || message.role.is_system();
    let messages = conversation.messages.iter().enumerate().filter(keeps).map(|(_, message)| message.clone()).collect();
    Conversation { messages, tools: conversation.tools.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use prompt::Message;

    fn dialogue(turns: usize) -> Conversation {
        let mut messages = vec![Message::new(Role::System, "rules")];
        for turn in 0..turns {
            messages.push(Message::user(format!("q{turn}")));
            messages.push(Message::new(Role::Assistant, format!("a{turn}")));
        }
        messages.pop();
        Conversation::new(messages)
    }

    fn at_most(count: usize) -> impl FnMut(&Conversation) -> Result<bool> {
        move |conversation| Ok(conversation.messages.len() <= count)
    }

    #[test]
    fn as_few_turns_go_as_possible() {
        for turns in 1..9 {
            let whole = dialogue(turns);
            for room in 2..=2 * turns {
                let (shorter, dropped) = shorten(&whole, at_most(room)).unwrap();
                // The system message, whole turns, and the open question at the end.
                let wanted = 2 + (room - 2) / 2 * 2;
                assert_eq!((shorter.messages.len(), dropped), (wanted, 2 * turns - wanted), "{turns} {room}");
                assert_eq!(shorter.messages[0], whole.messages[0]);
                assert_eq!(shorter.messages[1..], whole.messages[dropped + 1..]);
                assert_eq!(shorter.messages[1].role, Role::User);
            }
        }
    }

    #[test]
    fn what_fits_and_what_never_can_stay_whole() {
        let whole = dialogue(3);
        for room in [1, 100] {
            let (same, dropped) = shorten(&whole, at_most(room)).unwrap();
            assert_eq!((same.messages.len(), dropped), (6, 0));
        }
        let empty = Conversation::new([]);
        assert_eq!(shorten(&empty, |_| Ok(false)).unwrap().1, 0);
    }

    #[test]
    fn an_answer_always_has_room() {
        assert_eq!(prompt_room(4096, None), 3584);
        assert_eq!(prompt_room(100, None), 75);
        assert_eq!(prompt_room(100, Some(30)), 70);
        assert_eq!(prompt_room(100, Some(1000)), 0);
    }
}
