//! What is in the middle of some figures.

/// Zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Of ratios: twice as much and half as much are as much. Zero of none.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    if ratios.is_empty() {
        return 0.0;
    }
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_and_half_as_much_are_as_much() {
        assert!((geometric_mean(&[2.0, 0.5, 1.0]) - 1.0).abs() < 1e-9);
        assert!((geometric_mean(&[1.5]) - 1.5).abs() < 1e-9);
        assert_eq!(geometric_mean(&[]), 0.0);
    }
}
