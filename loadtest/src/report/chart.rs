//! Charts as SVG and PNG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::axis::Axis;
use crate::Error;

/// Of one chart.
const SIZE: (u32, u32) = (1_000, 600);
/// Plots look the same on a machine without fonts.
const FONT: &[u8] = include_bytes!("../../fonts/DejaVuSans-subset.ttf");
const FAMILY: &str = "sans-serif";
const TITLE_PIXELS: u32 = 22;
const LABEL_PIXELS: u32 = 16;
const LINE_PIXELS: u32 = 2;
const MARK_PIXELS: u32 = 4;
const FINE_LINES: RGBColor = RGBColor(236, 236, 236);
const LINES: RGBColor = RGBColor(200, 200, 200);

/// Charts side by side.
#[derive(Clone, Debug)]
pub struct Picture {
    pub charts: Vec<Chart>,
}

/// Curves in a frame.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub curves: Vec<Curve>,
    /// Where there is room for the legend.
    pub legend: SeriesLabelPosition,
}

#[derive(Clone, Debug)]
pub struct Curve {
    pub name: String,
    pub color: RGBColor,
    /// In the axes' own measures.
    pub points: Vec<(f64, f64)>,
    /// Each point was measured, the line is only to guide the eye.
    pub has_marks: bool,
}

/// Of a curve that is the so-manieth: told apart by the colour-blind too (Okabe and Ito).
pub fn color(index: usize) -> RGBColor {
    const COLORS: [RGBColor; 9] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(230, 159, 0),
        RGBColor(86, 180, 233),
        RGBColor(90, 90, 90),
        RGBColor(180, 170, 30),
        RGBColor(0, 0, 0),
    ];
    COLORS[index % COLORS.len()]
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Picture {
    pub fn title(&self) -> String {
        self.charts.iter().map(|chart| &*chart.title).collect::<Vec<_>>().join("; ")
    }

    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        let backend = SVGBackend::with_string(&mut svg, self.size());
        self.draw(backend.into_drawing_area()).map_err(undrawn)?;
        Ok(svg)
    }

    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        const CHANNELS: usize = 3;
        let (width, height) = self.size();
        let mut pixels = vec![0; width as usize * height as usize * CHANNELS];
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        self.draw(backend.into_drawing_area()).map_err(undrawn)?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&pixels))
            .map_err(undrawn)?;
        Ok(file)
    }

    fn size(&self) -> (u32, u32) {
        (SIZE.0 * self.charts.len() as u32, SIZE.1)
    }

    fn draw<DB: DrawingBackend>(&self, area: DrawingArea<DB, Shift>) -> Drawn<DB> {
        if register_font(FAMILY, FontStyle::Normal, FONT).is_err() {
            unreachable!("the font is a part of this program");
        }
        area.fill(&WHITE)?;
        let parts = area.split_evenly((1, self.charts.len()));
        self.charts.iter().zip(&parts).try_for_each(|(chart, part)| chart.draw(part))?;
        area.present()
    }
}

impl Chart {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FAMILY, TITLE_PIXELS))
            .margin(15)
            .margin_right(45)
            .x_label_area_size(50)
            .y_label_area_size(85)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(LINES)
            .light_line_style(FINE_LINES)
            .label_style((FAMILY, LABEL_PIXELS))
            .x_desc(&self.x.title)
            .y_desc(&self.y.title)
            .draw()?;
        for curve in &self.curves {
            let style = curve.color.stroke_width(LINE_PIXELS);
            let line = LineSeries::new(curve.points.iter().copied(), style);
            chart
                .draw_series(line)?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            if curve.has_marks {
                let mark =
                    |&point: &(f64, f64)| Circle::new(point, MARK_PIXELS, curve.color.filled());
                chart.draw_series(curve.points.iter().map(mark))?;
            }
        }
        chart
            .configure_series_labels()
            .position(self.legend.clone())
            .background_style(WHITE.mix(0.85))
            .border_style(LINES)
            .label_font((FAMILY, LABEL_PIXELS))
            .draw()
    }
}

fn undrawn(error: impl std::fmt::Display) -> Error {
    Error::Usage(format!("cannot draw: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let curve = |name: &str, index: usize, points: [(f64, f64); 2]| Curve {
            name: name.to_owned(),
            color: color(index),
            points: points.to_vec(),
            has_marks: true,
        };
        let chart = Chart {
            title: "a & b".to_owned(),
            x: Axis::percentiles(1_000),
            y: Axis::from_zero("µs", 10.0),
            curves: vec![
                curve("critical", 0, [(0.0, 1.0), (3.0, 2.0)]),
                curve("low", 1, [(0.0, 3.0), (3.0, 9.0)]),
            ],
            legend: SeriesLabelPosition::UpperLeft,
        };
        let other = Chart { title: "c".to_owned(), ..chart.clone() };
        Picture { charts: vec![chart, other] }
    }

    #[test]
    fn an_svg_has_curves_labels_and_escaped_text() {
        let svg = picture().svg().expect("it can be drawn");
        for part in ["<svg", "a &amp; b", "99.9 %", "critical", "low", "#0072B2", "#D55E00"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        let lines = svg.matches("stroke-width=\"2\"").count();
        assert_eq!(lines, 8, "two curves and their legends, twice: {svg}");
    }

    #[test]
    fn a_png_has_the_pixels_of_curves_and_letters() {
        let file = picture().png().expect("it can be drawn");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().expect("PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        reader.next_frame(&mut pixels).expect("one frame");
        assert_eq!((reader.info().width, reader.info().height), (2 * SIZE.0, SIZE.1));
        let count = |color: RGBColor| {
            pixels.chunks(3).filter(|pixel| *pixel == [color.0, color.1, color.2]).count()
        };
        assert!(count(color(0)) > 500 && count(color(1)) > 500, "both curves");
        assert!(count(BLACK) > 100, "letters, of the font that comes along");
    }
}
