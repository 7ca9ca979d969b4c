//! What the session service has said, and what it is being asked: bounded in number and time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{auth::fault::Fault, identity::User};

/// What the service has said of a token.
pub(super) type Answer = Result<Arc<User>, Fault>;

/// The SHA-256 of a question.
pub(super) type QuestionHash = [u8; 32];

/// See the module.
#[derive(Debug)]
pub(super) struct Answers {
    places: HashMap<QuestionHash, Place>,
    /// The answers, oldest first. One that was replaced meanwhile is there too, until its time is over.
    order: VecDeque<(QuestionHash, Instant)>,
    most: usize,
}

#[derive(Debug)]
enum Place {
    Asking(watch::Receiver<Option<Answer>>),
    Answered { answer: Answer, until: Instant },
}

/// What is known about a question.
#[derive(Debug)]
pub(super) enum Known {
    Answer(Answer),
    /// It is being asked.
    Question(watch::Receiver<Option<Answer>>),
}

impl Answers {
    /// Remembers at most so many answers.
    pub(super) fn new(most: usize) -> Self {
        Answers { places: HashMap::new(), order: VecDeque::new(), most }
    }

    /// What is known at this time.
    pub(super) fn get(&self, question: &QuestionHash, now: Instant) -> Option<Known> {
        match self.places.get(question)? {
            Place::Asking(answer) => Some(Known::Question(answer.clone())),
            Place::Answered { answer, until } if *until > now => Some(Known::Answer(answer.clone())),
            Place::Answered { .. } => None,
        }
    }

    /// Notes that the question is being asked, and where the answer will be.
    pub(super) fn ask(&mut self, question: QuestionHash, answer: watch::Receiver<Option<Answer>>) {
        self.places.insert(question, Place::Asking(answer));
    }

    /// Remembers the answer for so long; not at all for none or zero.
    pub(super) fn settle(&mut self, question: QuestionHash, answer: Answer, lifetime: Option<Duration>, now: Instant) {
        match lifetime.filter(|lifetime| !lifetime.is_zero()) {
            Some(lifetime) => {
                let until = now + lifetime;
                self.places.insert(question, Place::Answered { answer, until });
                self.order.push_back((question, until));
            }
            None => {
                self.places.remove(&question);
            }
        }
        while let Some((oldest, until)) = self.order.front().copied()
            && (self.order.len() > self.most || until <= now)
        {
            self.order.pop_front();
            let is_same = |place: &Place| matches!(place, Place::Answered { until: other, .. } if *other == until);
            if self.places.get(&oldest).is_some_and(is_same) {
                self.places.remove(&oldest);
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(sub: &str) -> Answer {
        Ok(Arc::new(User { sub: sub.to_owned(), ..User::default() }))
    }

    fn question(number: u32) -> QuestionHash {
        let mut hash = QuestionHash::default();
        hash[..4].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn sub_of(known: Option<Known>) -> Option<String> {
        match known? {
            Known::Answer(Ok(user)) => Some(user.sub.clone()),
            _ => None,
        }
    }

    #[test]
    fn an_answer_is_remembered_until_its_time_is_over() {
        let (mut answers, now) = (Answers::new(8), Instant::now());
        answers.settle(question(1), answer("a"), Some(MINUTE), now);
        answers.settle(question(2), Err(Fault::Denied), Some(MINUTE), now);
        assert_eq!(sub_of(answers.get(&question(1), now)).as_deref(), Some("a"));
        assert!(matches!(answers.get(&question(2), now), Some(Known::Answer(Err(Fault::Denied)))));
        assert!(answers.get(&question(1), now + MINUTE).is_none());
        answers.settle(question(3), answer("c"), Some(MINUTE), now + MINUTE);
        assert_eq!((answers.len(), answers.order.len()), (1, 1), "what is over is let go of");
    }

    #[test]
    fn no_answer_leaves_nothing_behind() {
        let (mut answers, now) = (Answers::new(8), Instant::now());
        for lifetime in [None, Some(Duration::ZERO)] {
            let (_tell, asked) = watch::channel(None);
            answers.ask(question(1), asked);
            assert!(matches!(answers.get(&question(1), now), Some(Known::Question(_))));
            answers.settle(question(1), Err(Fault::NoAnswer), lifetime, now);
            assert!(answers.get(&question(1), now).is_none());
        }
        assert_eq!((answers.len(), answers.order.len()), (0, 0));
    }

    #[test]
    fn the_oldest_answer_makes_room_and_a_question_under_way_never_does() {
        let (mut answers, now) = (Answers::new(100), Instant::now());
        let (_tell, asked) = watch::channel(None);
        answers.ask(question(0), asked);
        for number in 1..=1_000 {
            answers.settle(question(number), answer("x"), Some(MINUTE), now + Duration::from_millis(number.into()));
        }
        assert_eq!((answers.len(), answers.order.len()), (101, 100));
        assert!(answers.get(&question(0), now).is_some());
        assert!(answers.get(&question(900), now).is_none() && answers.get(&question(901), now).is_some());
    }

    #[test]
    fn the_end_of_a_replaced_answer_is_not_the_end_of_the_new_one() {
        let (mut answers, now) = (Answers::new(3), Instant::now());
        answers.settle(question(1), answer("old"), Some(MINUTE), now);
        let later = now + MINUTE;
        for step in 0..50 {
            answers.settle(question(1), answer("new"), Some(MINUTE + Duration::from_millis(step)), later);
        }
        assert_eq!(sub_of(answers.get(&question(1), later)).as_deref(), Some("new"));
        assert!(answers.order.len() <= 3, "however often one is replaced");
    }
}
