//! Who subscribes to what. Names are numbers everywhere else, so that a client costs little.

use std::collections::HashMap;

use odin_protocol::{Channel, ChannelError};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Most names kept: a gateway cannot fill our memory with invented ones.
pub const MAX_NAMES: usize = 1 << 20;

/// Names of channels and keys, each with its number.
#[derive(Debug, Default)]
pub struct Names {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    /// The number of a name, a new one if it has none. `None`: there are too many.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok().filter(|_| self.names.len() < MAX_NAMES)?;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Some(number)
    }

    /// The number of a name that has one.
    pub fn known(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number.
    ///
    /// # Panics
    /// On a number that is not from here.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

/// How numbers are spread over clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// Each channel has as many clients as any other.
    #[default]
    Even,
    /// The n-th channel is wanted by one n-th of those who want the first.
    Zipf,
}

/// What clients subscribe to.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Channels, with `{n}` where a number is to stand.
    pub templates: Vec<String>,
    /// Numbers are 0 up to this, without it.
    pub numbers: u32,
    /// Numbers of one client, for each template that has one.
    pub per_client: u32,
    /// See there.
    pub spread: Spread,
}

impl Choice {
    /// Checks every name that can come out.
    ///
    /// # Errors
    /// The first template that makes no channel.
    pub fn check(&self) -> Result<(), (String, ChannelError)> {
        for template in &self.templates {
            let name = template.replace("{n}", &self.numbers.saturating_sub(1).to_string());
            Channel::parse(&name).map_err(|error| (template.clone(), error))?;
        }
        Ok(())
    }

    /// The channels of a client, each once, by its number among all clients.
    pub fn of(&self, client: u32, seed: u64) -> Vec<String> {
        let numbers = self.numbers_of(client, seed);
        let mut channels: Vec<String> = Vec::new();
        for template in &self.templates {
            if template.contains("{n}") {
                channels.extend(numbers.iter().map(|number| template.replace("{n}", &number.to_string())));
            } else {
                channels.push(template.clone());
            }
        }
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    fn numbers_of(&self, client: u32, seed: u64) -> Vec<u32> {
        let wanted = self.per_client.min(self.numbers);
        if self.spread == Spread::Even {
            let first = u64::from(client) * u64::from(wanted);
            let number = |at: u32| ((first + u64::from(at)) % u64::from(self.numbers)) as u32;
            return (0..wanted).map(number).collect();
        }
        let mut random = SmallRng::seed_from_u64(seed ^ (u64::from(client) << 20));
        let total: f64 = (1..=self.numbers).map(|rank| 1.0 / f64::from(rank)).sum();
        let mut chosen = Vec::new();
        // A client that wants nearly all of them would draw for long: then the next free one does.
        for _ in 0..wanted {
            let mut point = random.random::<f64>() * total;
            let mut number = 0;
            while number + 1 < self.numbers && point > 1.0 / f64::from(number + 1) {
                point -= 1.0 / f64::from(number + 1);
                number += 1;
            }
            while chosen.contains(&number) {
                number = (number + 1) % self.numbers;
            }
            chosen.push(number);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(templates: &[&str], numbers: u32, per_client: u32, spread: Spread) -> Choice {
        let templates = templates.iter().map(|&text| text.to_owned()).collect();
        Choice { templates, numbers, per_client, spread }
    }

    #[test]
    fn spreads_evenly_and_gives_nobody_a_channel_twice() {
        let choice = choice(&["price:T{n}", "system:health"], 10, 3, Spread::Even);
        let mut counts = HashMap::new();
        for client in 0..100 {
            let channels = choice.of(client, 1);
            assert_eq!(channels.len(), 4);
            channels.into_iter().for_each(|channel| *counts.entry(channel).or_insert(0) += 1);
        }
        assert_eq!(counts.remove("system:health"), Some(100));
        assert!(counts.len() == 10 && counts.values().all(|count| *count == 30), "{counts:?}");
    }

    #[test]
    fn a_popular_channel_is_wanted_more_often() {
        let choice = choice(&["price:T{n}"], 50, 5, Spread::Zipf);
        let of = |number: &str| {
            (0..1000).filter(|client| choice.of(*client, 1).contains(&format!("price:T{number}"))).count()
        };
        assert!(of("0") > 3 * of("40"));
        assert_eq!(choice.of(7, 1), choice.of(7, 1), "a seed gives the same again");
        assert!((0..100).all(|client| choice.of(client, 2).len() == 5));
    }

    #[test]
    fn refuses_a_template_that_makes_no_channel() {
        choice(&["price:T{n}", "price:*"], 10, 1, Spread::Even).check().expect("channels");
        let (template, _) = choice(&["price:>"], 10, 1, Spread::Even).check().expect_err("no channel");
        assert_eq!(template, "price:>");
    }
}
