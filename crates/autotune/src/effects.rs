//! What times of some candidates say of others: each value of each field makes a kernel so many times as fast or slow, whatever the
//! other fields are. That is wrong wherever fields depend on each other, and yet tells which of those not tried are worth it.

use std::collections::BTreeMap;

/// A value of a field, as text.
type Value = (String, String);

/// How the logarithm of a time depends on a configuration.
pub(crate) struct Effects {
    mean: f64,
    of: BTreeMap<Value, f64>,
}

fn values(config: &toml::Table) -> Vec<Value> {
    config.iter().map(|(field, value)| (field.clone(), value.to_string())).collect()
}

impl Effects {
    /// The effects that fit configurations and their times, which are positive, in the least squares; `None` of none. Fitted one
    /// field after the other, and again, since each is of what the others leave (Hastie and Tibshirani, "Generalized additive
    /// models", 1986: backfitting). Each is the mean as if it had once more been seen to have none: what was seen once says little.
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

    /// The logarithm of the time that a configuration should have. A value that was never seen has no effect.
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
    fn the_fastest_is_found_where_nothing_like_it_was_timed() {
        let time =
            |tile: i64, padding: i64| (1.0 + (tile - 3).abs() as f64) * if padding == 1 { 1.0 } else { 1.5 };
        // Tiles without padding, and padding with the slowest tile: not both at once.
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
    fn of_nothing_nothing_is_known_and_what_was_never_seen_has_no_effect() {
        assert!(Effects::fit(&[]).is_none());
        let one = config(1, 0);
        let effects = Effects::fit(&[(&one, 8.0)]).unwrap();
        assert_eq!(effects.predict(&config(5, 6)), 8f64.ln());
    }
}
