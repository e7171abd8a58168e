//! Prices of options by the formula of Black and Scholes.

use std::array::from_fn;
use std::f64::consts::{PI, SQRT_2};

use fulgurite::spec::eval;
use fulgurite::{DeviceSnapshot, LaunchOptions, Literal};
use fulgurite_conformance::special::close;
use rayon::prelude::*;

use super::{PART, PlainOn};
use crate::problems::data::{self, Random};
use crate::problems::{Problem, Step, Work, text};

/// Yearly rate without risk.
const RATE: f32 = 0.02;
/// Standard deviation of a share's logarithm in a year.
const VOLATILITY: f32 = 0.3;

/// Bound of errors relative to the sum of share and strike price. A logarithm is within 3 ULP or 2⁻²¹, and a quotient
/// within 2.5 ULP, together 1.1e-6 for logarithms up to 3.4; the least deviation, 0.15, makes 7e-6 of that, and the
/// greatest density, 0.4, makes 3e-6. Roots, exponentials, and the polynomial, which is within 7.5e-8, add less than that.
const BOUND: f64 = 1e-5;

/// Prices of call and put options on random shares.
pub(super) fn black_scholes(count: u32) -> Problem {
    let mut random = Random::new(20);
    let mut between = |least: f32, most: f32| -> Vec<f32> {
        let middle = (least + most) / 2.0;
        random.floats(count as usize, (most - least) / 2.0).into_iter().map(|x| middle + x).collect()
    };
    let inputs = [between(5.0, 30.0), between(1.0, 100.0), between(0.25, 10.0)];
    let mut buffers: Vec<Vec<u8>> = inputs.iter().map(|input| data::from_floats(input)).collect();
    buffers.resize(5, vec![0; count as usize * 4]);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let [calls, puts] = [3, 4].map(|at: usize| data::to_floats(&after[at]));
        let wrong = (0..count as usize).into_par_iter().find_map_first(|i| {
            let [spot, strike, years] = from_fn(|k| f64::from(inputs[k][i]));
            let [call, put] = exact(spot, strike, years);
            let bound = BOUND * (spot + strike);
            (!close(calls[i], call, bound) || !close(puts[i], put, bound))
                .then(|| format!("option {i}: {:e} and {:e}, not {call:e} and {put:e}", calls[i], puts[i]))
        });
        wrong.map_or(Ok(()), Err)
    };
    let params = [RATE, VOLATILITY].map(|param| eval::splat_low(Literal::from(param).bits));
    Problem {
        name: "black_scholes",
        size: format!("{count} options"),
        buffers,
        reset: Vec::new(),
        steps: vec![Step {
            name: "black_scholes",
            text: text!("/kernels/", "black_scholes"),
            buffers: vec![0, 1, 2, 3, 4],
            params: params.into(),
            options: LaunchOptions::linear(u64::from(count)),
        }],
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

/// Returns the prices of a call and a put, each by its own formula and without the approximation.
fn exact(spot: f64, strike: f64, years: f64) -> [f64; 2] {
    let (rate, volatility) = (f64::from(RATE), f64::from(VOLATILITY));
    let deviation = volatility * years.sqrt();
    let d1 = ((spot / strike).ln() + (rate + volatility * volatility / 2.0) * years) / deviation;
    let d2 = d1 - deviation;
    let present = strike * (-rate * years).exp();
    let call = spot * normal(d1) - present * normal(d2);
    let put = present * normal(-d2) - spot * normal(-d1);
    [call, put]
}

/// Returns the normal distribution function, by its series: 1/2 + density · (x + x³/3 + x⁵/(3·5) + …).
fn normal(x: f64) -> f64 {
    if x.abs() > 6.0 {
        // Within 1e-9.
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + (-x * x / 2.0).exp() / (SQRT_2 * PI.sqrt()) * sum
}

/// Returns the normal distribution function (Abramowitz and Stegun, 26.2.17).
fn approximate(x: f32) -> f32 {
    let k = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let polynomial =
        k * (0.319_381_53 + k * (-0.356_563_78 + k * (1.781_477_9 + k * (-1.821_255_9 + k * 1.330_274_5))));
    let tail = 0.398_942_3 * (-0.5 * x * x).exp() * polynomial;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Prices of shares, of strikes, and years; prices of calls and of puts.
type Options = [Vec<f32>; 5];

pub(super) fn plain_black_scholes(problem: &Problem) -> PlainOn<Options> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[spots, strikes, years, calls, puts]: &mut Options| {
        let inputs = spots.par_chunks(PART).zip(strikes.par_chunks(PART)).zip(years.par_chunks(PART));
        let outputs = calls.par_chunks_mut(PART).zip(puts.par_chunks_mut(PART));
        outputs.zip(inputs).for_each(|((calls, puts), ((spots, strikes), years))| {
            for i in 0..calls.len() {
                let (spot, strike, time) = (spots[i], strikes[i], years[i]);
                let deviation = VOLATILITY * time.sqrt();
                let drift = (RATE + VOLATILITY * VOLATILITY * 0.5) * time;
                let d1 = ((spot / strike).ln() + drift) / deviation;
                let present = strike * (-RATE * time).exp();
                calls[i] = spot * approximate(d1) - present * approximate(d1 - deviation);
                puts[i] = calls[i] - (spot - present);
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of a table (Abramowitz and Stegun, table 26.1), and both ends.
    #[test]
    fn known_values_of_the_normal_distribution() {
        for (x, wanted) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (-2.0, 0.022_750_131_948_179),
            (5.9, 1.0 - 1.818e-9),
            (7.0, 1.0),
        ] {
            assert!((normal(x) - wanted).abs() < 1e-9, "{x}: {}", normal(x));
            assert!((f64::from(approximate(x as f32)) - wanted).abs() < 5e-7, "{x}");
        }
    }
}
