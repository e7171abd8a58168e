//! Predicting times from those of other candidates. The model assumes that each value of each field scales the time by
//! a constant factor. This is wrong where fields interact, but good enough to rank untried candidates.

use std::collections::BTreeMap;

/// A field and its value, as text.
type Value = (String, String);

/// A model of the logarithm of the time as a function of the configuration.
pub(crate) struct Effects {
    mean: f64,
    of: BTreeMap<Value, f64>,
}

fn values(config: &toml::Table) -> Vec<Value> {
    config.iter().map(|(field, value)| (field.clone(), value.to_string())).collect()
}

impl Effects {
    /// Fits the effects to configurations and their positive times by least squares; `None` without samples. Fields are
    /// fitted in turn, repeatedly, each to the residuals of the others (backfitting: Hastie and Tibshirani,
    /// "Generalized additive models", 1986). Each effect is shrunk by one additional observation of zero, because a
    /// single sample is weak evidence.
    pub(crate) fn fit(samples: &[(&toml::Table, f64)]) -> Option<Self> {
        const SWEEPS: usize = 4;
        let samples: Vec<_> = samples.iter().map(|(config, time)| (values(config), time.ln())).collect();
        let mean = samples.iter().map(|(_, time)| time).sum::<f64>() / samples.len() as f64;
        let fields: Vec<String> = samples.first()?.0.iter().map(|(field, _)| field.clone()).collect();
        let mut effects = Self { mean, of: BTreeMap::new() };
        for field in std::iter::repeat_n(&fields, SWEEPS).flatten() {
            let mut left = BTreeMap::<Value, (f64, f64)>::new();
            for (config, time) in &samples {
                let Some(own) = config.iter().find(|(name, _)| name == field) else { continue };
                let effect = effects.of.get(own).copied().unwrap_or_default();
                let (sum, count) = left.entry(own.clone()).or_default();
                *sum += time - (effects.sum(config) - effect);
                *count += 1.0;
            }
            effects.of.extend(left.into_iter().map(|(value, (sum, count))| (value, sum / (count + 1.0))));
        }
        Some(effects)
    }

    fn sum(&self, config: &[Value]) -> f64 {
        self.mean + config.iter().filter_map(|value| self.of.get(value)).sum::<f64>()
    }

    /// Predicts the logarithm of a configuration's time. Unseen values have no effect.
    pub(crate) fn predict(&self, config: &toml::Table) -> f64 {
        self.sum(&values(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tile: i64, padding: i64) -> toml::Table {
        toml::Table::from_iter([("tile".to_owned(), tile.into()), ("padding".to_owned(), padding.into())])
    }

    #[test]
    fn fastest_is_predicted_from_separate_fields() {
        let time =
            |tile: i64, padding: i64| (1.0 + (tile - 3).abs() as f64) * if padding == 1 { 1.0 } else { 1.5 };
        // Tiles are timed without padding, and padding with the slowest tile only.
        let known: Vec<_> = (0..8).map(|tile| (tile, 0)).chain([(7, 1), (7, 2)]).collect();
        let known: Vec<_> = known.into_iter().map(|(t, p)| (config(t, p), time(t, p))).collect();
        let samples: Vec<_> = known.iter().map(|(config, time)| (config, *time)).collect();
        let effects = Effects::fit(&samples).unwrap();
        let all = (0..8).flat_map(|tile| (0..3).map(move |padding| (tile, padding)));
        let best = all.min_by(|a, b| {
            let [a, b] = [a, b].map(|(tile, padding)| effects.predict(&config(*tile, *padding)));
            a.total_cmp(&b)
        });
        assert_eq!(best, Some((3, 1)));
    }

    #[test]
    fn empty_samples_give_no_model_and_unseen_values_no_effect() {
        assert!(Effects::fit(&[]).is_none());
        let one = config(1, 0);
        let effects = Effects::fit(&[(&one, 8.0)]).unwrap();
        assert_eq!(effects.predict(&config(5, 6)), 8f64.ln());
    }
}
