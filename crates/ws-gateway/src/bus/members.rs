//! Who gets what: feeds of shards are members of sources, and a source is there for as long as it has some.

use std::sync::Arc;

use futures_util::StreamExt;
use odin_protocol::error::ErrorCode;
use tokio::sync::oneshot;

use super::{
    Bus, Member,
    source::{Carrier, Source, SourceId},
    wide,
};
use crate::{queue::Item, rules::Topic};

impl Bus {
    pub(super) async fn join(&mut self, member: Member, topic: Arc<Topic>) {
        self.metrics.joins.add(1);
        if let Some(&source) = self.by_topic.get(&topic) {
            let found = &mut self.sources[source];
            if !found.members.contains(&member) {
                found.members.push(member);
                self.by_member.insert(member, source);
            }
            if found.machine.is_live() {
                self.say_opened(source, member);
            }
            return;
        }
        if topic.delay.is_some() {
            self.insert(topic, member, Carrier::Late(wide::Following::default()));
            return;
        }
        if self.wide.knows(&topic.subject) {
            self.metrics.wide_feeds.add(1);
            self.insert(topic, member, Carrier::Wide(wide::Following::default()));
            return;
        }
        let subject = self.config.stream.live_subject(&topic.subject);
        let messages = match self.live.subscribe(subject).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!(%error, subject = topic.subject, "cannot subscribe");
                let message = "the bus cannot be reached".to_owned();
                self.tell(member, |feed| Item::Refused { feed, code: ErrorCode::Unavailable, message });
                return;
            }
        };
        let (interest, end) = oneshot::channel();
        let source = self.insert(topic, member, Carrier::Core(interest));
        self.lives.push(messages.map(move |message| (source, message)).take_until(end).boxed());
    }

    pub(super) fn insert(&mut self, topic: Arc<Topic>, member: Member, carrier: Carrier) -> usize {
        self.openings += 1;
        let source = self.sources.insert(Source::new(topic.clone(), self.openings, member, carrier));
        self.by_topic.insert(topic, source);
        self.by_member.insert(member, source);
        self.to_open.push(source);
        source
    }

    pub(super) fn leave(&mut self, member: Member) {
        let Some(source) = self.by_member.remove(&member) else {
            return;
        };
        let members = &mut self.sources[source].members;
        members.retain(|other| *other != member);
        if members.is_empty() {
            self.remove(source);
        }
    }

    pub(super) fn remove(&mut self, source: usize) -> Source {
        let removed = self.sources.remove(source);
        self.by_topic.remove(&removed.topic);
        self.to_open.retain(|other| *other != source);
        if removed.is_wide() {
            self.metrics.wide_feeds.sub(1);
        }
        removed
    }

    pub(super) fn say_opened(&mut self, source: usize, member: Member) {
        let Some(epoch) = self.epoch else {
            return;
        };
        let last = self.sources[source].remembered();
        let up_to = self.sources[source].machine.watermark();
        let newest = self.sources[source].newest;
        self.tell(member, |feed| Item::Opened { feed, epoch, up_to, newest, last });
    }

    /// The pattern covers more subjects than it may.
    pub(super) fn refuse(&mut self, source: SourceId) {
        if self.source(source).is_none() {
            return;
        }
        let removed = self.remove(source.slot);
        let message = format!("{} covers too many subjects", removed.topic.channel);
        for member in removed.members {
            self.by_member.remove(&member);
            let message = message.clone();
            self.tell(member, |feed| Item::Refused { feed, code: ErrorCode::TooWide, message });
        }
    }

    /// Tells those who wait for longer than `feeds.open_timeout`, once.
    pub(super) fn announce_late(&mut self) {
        let limit = self.config.feeds.open_timeout;
        let mut late = Vec::new();
        for (_, source) in &mut self.sources {
            if !source.machine.is_live() && !source.was_announced_late && source.asked_at.elapsed() >= limit {
                source.was_announced_late = true;
                late.extend(source.members.iter().copied());
            }
        }
        for member in late {
            self.tell(member, |feed| Item::Waiting { feed });
        }
    }
}
