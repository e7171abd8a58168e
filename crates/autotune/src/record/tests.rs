//! Laws of merging, and the selection of the best row.

use proptest::prelude::*;

use super::*;

fn row(generation: u64, verdict: TuneVerdict, time: f64) -> CandidateRow {
    let mut row = CandidateRow::new(toml::Table::new(), verdict).timed(time, 0.0, 1);
    row.generation = generation;
    row
}

/// Records with few candidates and generations, so that they collide.
fn records() -> impl Strategy<Value = AutotuneRecord> {
    let row = (0u8..5, 1u64..5, 0usize..6, 0u8..4);
    let passed_over = proptest::collection::vec((0u8..5, 1u64..5), 0..4);
    let forgotten = prop_oneof![3 => Just(0u64), 1 => 1u64..5];
    (proptest::collection::vec(row, 0..8), passed_over, forgotten).prop_map(
        |(rows, passed_over, forgotten)| {
            let id = |id| format!("cpu:{id}");
            let passed_over = passed_over.into_iter().map(|(of, generation)| (id(of), generation));
            let rows = rows.into_iter().map(|(of, generation, verdict, time)| {
                (id(of), self::row(generation, TuneVerdict::ALL[verdict], f64::from(time)))
            });
            AutotuneRecord::new(rows).with_passed_over(passed_over).with_forgotten(forgotten)
        },
    )
}

fn merged(a: &AutotuneRecord, b: &AutotuneRecord) -> AutotuneRecord {
    let mut all = a.clone();
    all.merge(b);
    all
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in records(), b in records(), c in records()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn what_was_forgotten_does_not_come_back(a in records(), b in records()) {
        let mut gone = merged(&a, &b);
        gone.forget();
        prop_assert!(gone.is_empty() && gone.passed_over().is_empty());
        for back in [merged(&gone, &a), merged(&b, &gone)] {
            prop_assert!(back.is_empty() && back.passed_over().is_empty());
        }
        // Rows measured after forgetting count.
        let newer = AutotuneRecord::new([("cpu:9".to_owned(), row(gone.generation() + 1, TuneVerdict::Measured, 1.0))]);
        prop_assert_eq!(merged(&gone, &newer).candidates().len(), 1);
    }

    #[test]
    fn the_best_is_the_fastest_that_was_measured_to_the_end(a in records()) {
        let measured = a.candidates().values().filter(|row| row.verdict == TuneVerdict::Measured);
        let least = measured.filter_map(|row| row.time_ns).fold(f64::INFINITY, f64::min);
        match a.best() {
            Some((_, best)) => prop_assert_eq!(best.time_ns, Some(least)),
            None => prop_assert!(least.is_infinite()),
        }
    }
}

/// Records with more rows than the limit.
fn large(seed: u64) -> AutotuneRecord {
    let mut random = crate::random::Random::new(seed);
    let rows = (0..MAX_ROWS + 200).map(|_| {
        let (id, generation) = (random.below(2 * MAX_ROWS), random.below(6) as u64 + 1);
        (format!("cpu:{id}"), row(generation, TuneVerdict::Measured, random.below(100) as f64))
    });
    let rows: Vec<_> = rows.collect();
    let passed_over = (0..MAX_PASSED_OVER + 200).map(|_| {
        let (id, generation) = (random.below(2 * MAX_PASSED_OVER), random.below(6) as u64 + 1);
        (format!("cpu:{id}"), generation)
    });
    AutotuneRecord::new(rows).with_passed_over(passed_over)
}

#[test]
fn bounded_records_obey_the_same_laws() {
    for seed in 0..12 {
        let [a, b, c] = [1, 2, 3].map(|part| large(seed * 3 + part));
        assert_eq!(merged(&a, &b), merged(&b, &a));
        assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        let all = merged(&a, &b);
        assert_eq!((all.candidates().len(), all.passed_over().len()), (MAX_ROWS, MAX_PASSED_OVER));
    }
}

#[test]
fn invalid_numbers_are_rejected() {
    let good = row(1, TuneVerdict::Measured, 2.0);
    assert_eq!(good.check(), Ok(()));
    for (time, spread) in [(f64::NAN, 0.0), (-1.0, 0.0), (1.0, f64::INFINITY)] {
        assert!(good.clone().timed(time, spread, 1).check().is_err());
    }
    assert!(row(0, TuneVerdict::Measured, 2.0).check().is_err());
    let mut no_time = good;
    no_time.time_ns = None;
    assert!(no_time.check().is_err());
}
