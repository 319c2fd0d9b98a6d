//! What the server takes, by the number of connections.

use plotters::chart::SeriesLabelPosition;

use super::axis::{Axis, number_label};
use super::chart::{Chart, Curve, color};
use super::run::{Figures, Run};

/// Beyond it, small costs would not show beside large ones: the axis is logarithmic.
const LINEAR_RATIO_MAX: f64 = 50.0;

/// CPU time per delivery.
pub fn cpu(title: &str, runs: &[Run]) -> Option<Chart> {
    let title = format!("{title}: server CPU per delivery");
    chart(title, "µs of CPU per delivery", runs, |figures| figures.cpu_us_per_delivery)
}

/// User-space memory per connection.
pub fn memory(title: &str, runs: &[Run]) -> Option<Chart> {
    let title = format!("{title}: server memory per connection");
    let axis = "resident bytes per connection (user space)";
    chart(title, axis, runs, |figures| figures.bytes_per_connection)
}

/// Runs with the same label make a curve, with a mark for each number of connections: the median.
fn chart(
    title: String,
    axis: &str,
    runs: &[Run],
    cost: impl Fn(&Figures) -> Option<f64>,
) -> Option<Chart> {
    let mut curves: Vec<Curve> = Vec::new();
    let mut connections = Vec::new();
    for run in runs {
        let known = run.figures.connections.filter(|&number| number > 0.0);
        let Some((number, cost)) = known.zip(cost(&run.figures)) else { continue };
        connections.push(number);
        let point = (number.log10(), cost);
        match curves.iter_mut().find(|curve| curve.name == run.label()) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve {
                name: run.label().to_owned(),
                color: color(curves.len()),
                points: vec![point],
                has_marks: true,
            }),
        }
    }
    curves.iter_mut().for_each(|curve| curve.points = medians(&curve.points));
    let costs = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    let (least, greatest) = (costs().reduce(f64::min)?, costs().reduce(f64::max)?);
    let y = if least > 0.0 && greatest > LINEAR_RATIO_MAX * least {
        let points = curves.iter_mut().flat_map(|curve| &mut curve.points);
        points.for_each(|point| point.1 = point.1.log10());
        Axis::powers(axis, least..greatest, number_label)
    } else {
        Axis::from_zero(axis, greatest)
    };
    Some(Chart {
        title,
        x: Axis::values("connections", &connections, number_label),
        y,
        curves,
        legend: SeriesLabelPosition::UpperLeft,
    })
}

/// By the first value, in its order, the median of the second ones; of two in the middle the lower.
fn medians(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let alike = sorted.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq());
    alike.map(|alike| alike[(alike.len() - 1) / 2]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{About, Clock};

    fn run(label: &str, connections: f64, cpu_us: Option<f64>) -> Run {
        let clock = Clock::start().stop();
        let label = Some(label.to_owned());
        let figures = Figures {
            connections: Some(connections),
            cpu_us_per_delivery: cpu_us,
            ..Figures::default()
        };
        Run {
            name: "r".to_owned(),
            about: About::collect("fanout", label, "http://127.0.0.1:1", clock),
            figures,
            series: Vec::new(),
        }
    }

    #[test]
    fn costs_that_are_far_apart_are_drawn_as_logarithms() {
        let runs = [run("one", 1_000.0, Some(1.0)), run("other", 1_000.0, Some(100.0))];
        let chart = cpu("t", &runs).expect("costs are known");
        let costs: Vec<_> = chart.curves.iter().map(|it| it.points[0].1).collect();
        assert_eq!((costs, chart.y.range), (vec![0.0, 2.0], 0.0..2.0));
    }

    #[test]
    fn runs_of_a_label_make_one_curve_in_order() {
        let runs = [
            run("uring", 10_000.0, Some(5.5)),
            run("epoll", 1_000.0, Some(5.2)),
            run("uring", 1_000.0, Some(4.8)),
            run("uring", 10_000.0, Some(9.0)),
            run("uring", 10_000.0, Some(5.0)),
            run("uring", 100.0, None),
        ];
        let chart = cpu("t", &runs).expect("costs are known");
        let curves: Vec<_> = chart.curves.iter().map(|it| (&*it.name, &*it.points)).collect();
        let uring = [(3.0, 4.8), (4.0, 5.5)];
        assert_eq!(curves, [("uring", &uring[..]), ("epoll", &[(3.0, 5.2)][..])]);
        assert!(memory("t", &runs).is_none(), "nothing is known of memory");
    }
}
