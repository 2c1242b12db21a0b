//! Plots as SVG: bars with a mark to be compared with, and latencies by percentile.
//!
//! ```text
//!  chart --(plotters, colours of a light page)--> SVG --(a style: the same colours on a dark page)--> file
//! ```
//!
//! The colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; every bar and line
//! also says what it is. A plot brings its own background, so it is legible wherever it is shown.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::table::server_name;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 860;
const FONT: &str = "sans-serif";
const TITLE_PX: u32 = 34;
const BAR_PX: i32 = 20;
const GROUP_GAP_PX: i32 = 14;
const LABEL_PX: u32 = 170;
const AXIS_PX: u32 = 46;
const LINES_HEIGHT: u32 = 400;
/// Room to the right of the longest bar for its figure.
const HEADROOM: f64 = 1.35;
/// What the words beside a bar may be long.
const FIGURE_PX: i32 = 160;

/// A colour on a light page, and what stands for it on a dark one.
struct Tone(RGBColor, RGBColor);

const PAPER: Tone = Tone(RGBColor(0xFF, 0xFF, 0xFF), RGBColor(0x0D, 0x11, 0x17));
const INK: Tone = Tone(RGBColor(0x1F, 0x23, 0x28), RGBColor(0xE6, 0xED, 0xF3));
const GRID: Tone = Tone(RGBColor(0xD0, 0xD7, 0xDE), RGBColor(0x30, 0x36, 0x3D));
const GREY: Tone = Tone(RGBColor(0x8C, 0x95, 0x9F), RGBColor(0x8B, 0x94, 0x9E));
const SKY: Tone = Tone(RGBColor(0x56, 0xB4, 0xE8), RGBColor(0x3A, 0x8F, 0xC4));
const BLUE: Tone = Tone(RGBColor(0x00, 0x72, 0xB2), RGBColor(0x56, 0xB4, 0xE9));
const VERMILION: Tone = Tone(RGBColor(0xD5, 0x5E, 0x00), RGBColor(0xF0, 0x82, 0x3C));
const GREEN: Tone = Tone(RGBColor(0x00, 0x9E, 0x73), RGBColor(0x2C, 0xC2, 0x95));
const TONES: [&Tone; 8] = [&PAPER, &INK, &GRID, &GREY, &SKY, &BLUE, &VERMILION, &GREEN];

/// A server has the same colour in every plot.
fn tone(server: &str) -> &'static Tone {
    match server {
        "epoll" => &BLUE,
        "uring" => &VERMILION,
        "nchan" => &GREEN,
        "floor uring" => &SKY,
        _ => &GREY,
    }
}

/// Bars that belong together, under one label.
pub struct Group {
    pub label: String,
    /// Server and figure.
    pub bars: Vec<(String, f64)>,
    /// What the figures of the gateway should stay below.
    pub mark: Option<f64>,
}

pub struct Bars {
    pub title: String,
    /// What the axis shows, with its unit.
    pub axis: String,
    /// Digits after the point of the figures.
    pub digits: usize,
    pub groups: Vec<Group>,
}

/// Latencies of one server: name of the percentile and milliseconds.
pub struct Line {
    pub server: String,
    pub points: Vec<(&'static str, f64)>,
}

pub struct Percentiles {
    pub title: String,
    pub lines: Vec<Line>,
}

type Outcome = Result<String, String>;

impl Bars {
    pub fn draw(&self) -> Outcome {
        let bars: i32 = self.groups.iter().map(|group| group.bars.len() as i32).sum();
        let body = bars * BAR_PX + self.groups.len() as i32 * GROUP_GAP_PX;
        let height = TITLE_PX + AXIS_PX + body as u32 + 10;
        let figures = self.groups.iter().flat_map(|group| group.bars.iter().map(|bar| bar.1).chain(group.mark));
        let longest = figures.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        draw(height, &self.title, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_right(10)
                .set_label_area_size(LabelAreaPosition::Left, LABEL_PX)
                .set_label_area_size(LabelAreaPosition::Bottom, AXIS_PX)
                .build_cartesian_2d(0.0..longest * HEADROOM, body..0)
                .map_err(words)?;
            chart
                .configure_mesh()
                .disable_y_mesh()
                .disable_y_axis()
                .axis_style(GRID.0)
                .bold_line_style(GRID.0)
                .light_line_style(PAPER.0)
                .label_style(text(13))
                .x_labels(8)
                .x_label_formatter(&|value| grouped(*value, if longest < 10.0 { 1 } else { 0 }))
                .x_desc(&self.axis)
                .draw()
                .map_err(words)?;
            let plot = chart.plotting_area();
            let mut top = GROUP_GAP_PX / 2;
            for group in &self.groups {
                let bottom = top + group.bars.len() as i32 * BAR_PX;
                let label = text(13).pos(Pos::new(HPos::Right, VPos::Center));
                let (x, y) = plot.map_coordinate(&(0.0, (top + bottom) / 2));
                // The plotting area maps to the whole picture, below whose title `area` begins.
                area.draw(&Text::new(group.label.clone(), (x - 8, y - TITLE_PX as i32), label)).map_err(words)?;
                let mark_x = group.mark.map(|mark| plot.map_coordinate(&(mark, top)).0);
                for (index, (server, figure)) in group.bars.iter().enumerate() {
                    let y = top + index as i32 * BAR_PX;
                    let bar = Rectangle::new([(0.0, y + 2), (*figure, y + BAR_PX - 2)], tone(server).0.filled());
                    plot.draw(&bar).map_err(words)?;
                    let (end, y) = plot.map_coordinate(&(*figure, y + BAR_PX / 2));
                    // Beside the bar, and beside the mark where that would cross the words.
                    let x = mark_x.filter(|mark| (end..end + FIGURE_PX).contains(mark)).unwrap_or(end) + 7;
                    let style = text(13).pos(Pos::new(HPos::Left, VPos::Center));
                    let figure = format!("{} {}", grouped(*figure, self.digits), server_name(server));
                    area.draw(&Text::new(figure, (x, y - TITLE_PX as i32), style)).map_err(words)?;
                }
                if let Some(mark) = group.mark {
                    let line = PathElement::new([(mark, top), (mark, bottom)], INK.0.stroke_width(2));
                    plot.draw(&line).map_err(words)?;
                }
                top = bottom + GROUP_GAP_PX;
            }
            Ok(())
        })
    }
}

impl Percentiles {
    /// Both axes by order of magnitude in effect: each percentile leaves a tenth of what the one before it left.
    pub fn draw(&self) -> Outcome {
        let figures = self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
        let (low, high) = figures.fold((f64::MAX, f64::MIN), |(low, high), figure| (low.min(figure), high.max(figure)));
        let low = 10f64.powf(low.max(0.001).log10().floor());
        let high = 10f64.powf(high.max(low * 2.0).log10().ceil());
        let names: Vec<&str> = self
            .lines
            .iter()
            .max_by_key(|line| line.points.len())
            .map_or(vec![], |line| line.points.iter().map(|point| point.0).collect());
        draw(LINES_HEIGHT, &self.title, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_left(10)
                .margin_right(140)
                .set_label_area_size(LabelAreaPosition::Left, 70)
                .set_label_area_size(LabelAreaPosition::Bottom, AXIS_PX)
                .build_cartesian_2d(0.0..names.len() as f64 - 1.0, (low..high).log_scale())
                .map_err(words)?;
            chart
                .configure_mesh()
                .axis_style(GRID.0)
                .bold_line_style(GRID.0)
                .light_line_style(PAPER.0)
                .label_style(text(13))
                .x_labels(names.len())
                .x_label_formatter(&|at| {
                    names.get(at.round() as usize).map_or(String::new(), |name| (*name).to_owned())
                })
                .x_desc("percentile of deliveries")
                .y_label_formatter(&|ms| {
                    grouped(
                        *ms,
                        if *ms < 0.1 {
                            2
                        } else if *ms < 1.0 {
                            1
                        } else {
                            0
                        },
                    )
                })
                .y_desc("latency, ms")
                .draw()
                .map_err(words)?;
            for line in &self.lines {
                let colour = tone(&line.server).0;
                let points: Vec<(f64, f64)> =
                    line.points.iter().enumerate().map(|(index, point)| (index as f64, point.1.max(low))).collect();
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2))).map_err(words)?;
                let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
                chart.draw_series(dots).map_err(words)?;
            }
            self.name_lines(area, &chart)
        })
    }

    /// Beside their ends, moved apart where those are close together.
    fn name_lines<X, Y>(
        &self,
        area: &Area<'_>,
        chart: &ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    ) -> Result<(), String>
    where
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        let mut ends: Vec<(i32, i32, &str)> = Vec::new();
        for line in &self.lines {
            if let Some((_, ms)) = line.points.last() {
                let (x, y) = chart.backend_coord(&(line.points.len() as f64 - 1.0, *ms));
                ends.push((x, y - TITLE_PX as i32, &line.server));
            }
        }
        ends.sort_by_key(|end| end.1);
        let mut lowest = i32::MIN;
        for (x, y, server) in ends {
            let y = y.max(lowest);
            lowest = y + 16;
            let style = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(server_name(server).to_owned(), (x + 10, y), style)).map_err(words)?;
        }
        Ok(())
    }
}

fn draw(height: u32, title: &str, body: impl FnOnce(&Area<'_>) -> Result<(), String>) -> Outcome {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&PAPER.0).map_err(words)?;
        root.draw(&Text::new(title.to_owned(), (12, 10), text(17))).map_err(words)?;
        let (_, rest) = root.split_vertically(TITLE_PX);
        body(&rest)?;
        root.present().map_err(words)?;
    }
    Ok(for_dark_pages_too(&svg))
}

fn text(px: u32) -> TextStyle<'static> {
    (FONT, px as f64).into_font().color(&INK.0)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A rule of a style outweighs the attribute that plotters writes.
fn for_dark_pages_too(svg: &str) -> String {
    let rules: String = TONES
        .iter()
        .flat_map(|tone| {
            ["fill", "stroke"].map(|what| format!("[{what}=\"{}\"]{{{what}:{}}}", hex(tone.0), hex(tone.1)))
        })
        .collect();
    let style = format!("<style>@media (prefers-color-scheme: dark){{{rules}}}</style>");
    match svg.find('>') {
        Some(end) => format!("{}\n{style}{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    }
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// A number with commas between the thousands.
pub fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    if value < 0.0 && out.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_the_thousands() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(-1_234.56, 1), "-1,234.6");
        assert_eq!(grouped(-0.01, 1), "0.0");
    }

    #[test]
    fn figures_of_all_sizes_are_drawn() {
        for figure in [0.0, 1e-9, 3.0, 1e12] {
            let group = Group { label: "a".into(), bars: vec![("epoll".into(), figure)], mark: Some(figure) };
            let bars = Bars { title: "t".into(), axis: "x".into(), digits: 1, groups: vec![group] };
            assert!(bars.draw().unwrap().contains("</svg>"), "{figure}");
            let line = Line { server: "epoll".into(), points: vec![("50 %", figure), ("all", figure * 2.0)] };
            let percentiles = Percentiles { title: "t".into(), lines: vec![line] };
            assert!(percentiles.draw().unwrap().contains("</svg>"), "{figure}");
        }
    }
}
