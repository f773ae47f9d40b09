//! What is said of several measurements: the median, and from where to where.

/// Several measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// The middle one, or the mean of the two in the middle; 0 if there are none.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        let at = |index: usize| self.sorted.get(index).copied().unwrap_or_default();
        match self.sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => at(middle),
            _ => f64::midpoint(at(middle - 1), at(middle)),
        }
    }

    /// The one that so many of a hundred do not exceed; 0 if there are none. Of fewer than a hundred the
    /// largest stands for the 99th.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        let at = self.sorted.get(rank.saturating_sub(1));
        at.copied().unwrap_or_default()
    }

    /// The smallest and the largest; zeros if there are none.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let first = self.sorted.first().copied().unwrap_or_default();
        let last = self.sorted.last().copied().unwrap_or_default();
        (first, last)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]

    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Samples = (1..=200).rev().map(f64::from).collect();
        assert_eq!(
            (samples.percentile(99), samples.percentile(50)),
            (198.0, 100.0)
        );
        let few: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(few.percentile(99), 3.0);
        assert_eq!(Samples::default().percentile(99), 0.0);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        for (samples, median, spread) in [
            (vec![], 0.0, (0.0, 0.0)),
            (vec![3.0], 3.0, (3.0, 3.0)),
            (vec![9.0, 1.0, 2.0], 2.0, (1.0, 9.0)),
            (vec![4.0, 1.0, 100.0, 2.0], 3.0, (1.0, 100.0)),
        ] {
            let samples: Samples = samples.into_iter().collect();
            assert_eq!(samples.median(), median, "{samples:?}");
            assert_eq!(samples.spread(), spread, "{samples:?}");
        }
    }
}
