//! Where a run gets its decisions from.

use crate::SplitMix64;

/// One decision: a number below another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What was chosen.
    pub value: u64,
    /// What it had to be below.
    pub below: u64,
}

/// All decisions of a run, in the order in which it asks for them.
///
/// They come from a seed, from a fuzzer's bytes, or from a script; whichever it is, what was chosen is
/// [noted](Self::made), and a [script](Self::scripted) of that is the same run again. 0 is always the
/// choice in which nothing happens, so that a script with fewer and smaller numbers is a simpler run.
///
/// ```
/// use tus_testkit::simulation::Choices;
///
/// let mut choices = Choices::seeded(7);
/// let drawn = [choices.below(6), choices.below(6)];
/// let script = choices.made().iter().map(|choice| choice.value);
/// let mut again = Choices::scripted(script);
/// assert_eq!([again.below(6), again.below(6)], drawn);
/// assert_eq!(again.below(6), 0); // what a script does not say
/// ```
#[derive(Clone, Debug)]
pub struct Choices {
    script: Vec<u64>,
    /// What comes after the script.
    random: Option<SplitMix64>,
    made: Vec<Choice>,
}

impl Choices {
    /// Drawn from a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            script: Vec::new(),
            random: Some(SplitMix64::new(seed)),
            made: Vec::new(),
        }
    }

    /// These, each brought below what it must be below; then 0.
    #[must_use]
    pub fn scripted(script: impl IntoIterator<Item = u64>) -> Self {
        Self {
            script: script.into_iter().collect(),
            random: None,
            made: Vec::new(),
        }
    }

    /// A fuzzer's bytes, two for a choice, which reaches whatever is chosen from; then 0.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let pairs = bytes.chunks(2);
        Self::scripted(pairs.map(|pair| pair.iter().rfold(0, |n, byte| n << 8 | u64::from(*byte))))
    }

    /// A number below `end`; 0 where that leaves no choice.
    pub fn below(&mut self, end: u64) -> u64 {
        if end <= 1 {
            return 0;
        }
        let value = match (self.script.get(self.made.len()), &mut self.random) {
            (Some(value), _) => value % end,
            (None, Some(random)) => random.below(end),
            (None, None) => 0,
        };
        self.made.push(Choice { value, below: end });
        value
    }

    /// Whether it happens this time, as it does once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) + 1 == n
    }

    /// One of these, of which there must be one; the first is the simplest.
    ///
    /// # Panics
    ///
    /// If there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).unwrap_or_default()]
    }

    /// What was chosen so far.
    #[must_use]
    pub fn made(&self) -> &[Choice] {
        &self.made
    }

    /// The choices of the next run, where every run is to be had: the last decision that can be greater
    /// is greater by one, and those after it begin again. `None`: that was the last.
    ///
    /// ```
    /// use tus_testkit::simulation::Choices;
    ///
    /// let mut runs = 0;
    /// let mut next = Some(Choices::scripted([]));
    /// while let Some(mut choices) = next {
    ///     if choices.below(3) == 1 {
    ///         choices.below(4);
    ///     }
    ///     runs += 1;
    ///     next = choices.next();
    /// }
    /// assert_eq!(runs, 1 + 4 + 1);
    /// ```
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let can_grow = |choice: &Choice| choice.value + 1 < choice.below;
        let last = self.made.iter().rposition(can_grow)?;
        let mut script: Vec<u64> = self.made[..=last]
            .iter()
            .map(|choice| choice.value)
            .collect();
        script[last] += 1;
        Some(Self::scripted(script))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_reach_any_number_and_end_in_zeros() {
        let mut choices = Choices::from_bytes(&[0x34, 0x12, 7]);
        assert_eq!(choices.below(u64::MAX), 0x1234);
        assert_eq!(choices.below(u64::MAX), 7);
        assert_eq!(choices.below(u64::MAX), 0);
    }

    #[test]
    fn what_leaves_no_choice_is_none() {
        let mut choices = Choices::seeded(1);
        assert_eq!([choices.below(0), choices.below(1)], [0, 0]);
        assert_eq!(choices.made(), []);
        assert!(choices.once_in(1), "always");
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        let draw = || {
            let mut choices = Choices::seeded(3);
            for end in 1..100 {
                choices.below(end);
            }
            choices.made().to_vec()
        };
        assert_eq!(draw(), draw());
    }
}
