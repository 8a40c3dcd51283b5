//! Comparisons of windows that take turns: without something, with it, without it, …
//!
//! The speed of a machine changes from one minute to the next, often by more than what is looked for. So each window is
//! compared with its neighbours, and the median of the comparisons counts.

use super::row::{Target, median};

/// Two runs of the same agree within so many times the errors that they state.
pub(super) const AGREEMENT: f64 = 3.0;

/// What `compare` says of each window `with` and the mean of the two windows around it: there is one more `without`.
pub(super) fn compared(
    with: &[f64],
    without: &[f64],
    compare: impl Fn(f64, f64) -> f64,
) -> impl Iterator<Item = f64> {
    let around = without.windows(2).map(|around| around.iter().sum::<f64>() / 2.0);
    with.iter()
        .zip(around)
        .map(move |(with, without)| compare(*with, without))
}

/// A median, and its standard error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) error: f64,
}

impl Estimate {
    /// Of what is [`compared`].
    pub(super) fn of(with: &[f64], without: &[f64], compare: impl Fn(f64, f64) -> f64) -> Estimate {
        Estimate::median(compared(with, without, compare))
    }

    /// Of these values.
    pub(super) fn median(values: impl Iterator<Item = f64>) -> Estimate {
        let values: Vec<f64> = values.collect();
        let value = median(&values);
        let distances: Vec<f64> = values.iter().map(|other| (other - value).abs()).collect();
        // 1.48 median distances are a standard deviation, where values are spread normally; a median's error is a quarter more than a mean's
        let error = 1.25 * 1.48 * median(&distances) / (values.len() as f64).sqrt().max(1.0);
        Estimate { value, error }
    }

    /// The standard deviation of the values, of which there were so many.
    pub(super) fn deviation(self, values: usize) -> f64 {
        self.error * (values as f64).sqrt() / 1.25
    }

    /// Whether it is at most so much, where it is known well enough to say.
    pub(super) fn at_most(self, limit: f64) -> String {
        let Estimate { value, error } = self;
        if value + AGREEMENT * error <= limit || value - AGREEMENT * error > limit {
            Target::AtMost(limit).verdict(value)
        } else if value <= limit {
            "met, within noise".to_owned()
        } else {
            "not told apart from noise".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_is_no_cost() {
        let without = [100.0, 120.0, 140.0, 160.0];
        let estimate = Estimate::of(&[115.0, 135.0, 155.0], &without, |with, without| with - without);
        let wanted = Estimate {
            value: 5.0,
            error: 0.0,
        };
        assert_eq!(estimate, wanted);
    }

    #[test]
    fn what_is_not_known_well_enough_is_not_said() {
        let told = |value, error| Estimate { value, error }.at_most(2.0);
        assert_eq!(told(1.0, 0.1), "met");
        assert_eq!(told(1.0, 1.0), "met, within noise");
        assert_eq!(told(3.0, 1.0), "not told apart from noise");
        assert_eq!(told(3.0, 0.1), "missed: 50 % more");
        assert_eq!(Estimate::median([-5.0, -4.0, -1.0, 0.0].into_iter()).value, -2.5);
    }

    #[test]
    fn an_error_falls_with_the_number_of_values() {
        let few = Estimate::median([1.0, 2.0, 3.0].into_iter());
        let many = Estimate::median([1.0, 2.0, 3.0].into_iter().cycle().take(300));
        assert_eq!((few.value, many.value), (2.0, 2.0));
        assert!(many.error < few.error / 5.0 && many.error > 0.0);
        assert_eq!(
            Estimate::median([].into_iter()),
            Estimate {
                value: 0.0,
                error: 0.0
            }
        );
    }
}
