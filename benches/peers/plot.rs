//! Bars as SVG, in colours that can be read on light and dark pages.

/// One bar.
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// Whether it's drawn in the first colour.
    pub ours: bool,
    /// What stands behind it.
    pub text: String,
}

const WIDTH: usize = 900;
const LABELS: usize = 380;
const VALUES: usize = 130;
const STEP: usize = 26;
const TOP: usize = 48;

const STYLE: &str = "text{font:14px sans-serif;fill:#24292f}.title{font-weight:bold}.ours{fill:#0969da}.other{fill:#8c959f}\
    .line{stroke:#cf222e;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#58a6ff}.other{fill:#6e7681}\
    .line{stroke:#ff7b72}}";

/// Horizontal bars, with a line at some value by choice. Bars that would leave the page end at its border.
pub fn bars(title: &str, bars: &[Bar], line: Option<f64>) -> String {
    let most = bars.iter().map(|bar| bar.value).fold(line.unwrap_or(0.0) * 1.2, f64::max);
    // One that is far off must not make all others invisible.
    let most = line.map_or(most, |line| most.min(line * 4.0)).max(f64::MIN_POSITIVE);
    let room = (WIDTH - LABELS - VALUES) as f64;
    let long = |value: f64| (value / most).min(1.0) * room;
    let height = TOP + bars.len() * STEP + 12;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<text class=\"title\" x=\"8\" y=\"24\">{0}</text>\n",
        escaped(title)
    );
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + number * STEP;
        let (class, wide) = (if bar.ours { "ours" } else { "other" }, long(bar.value));
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{LABELS}\" y=\"{y}\" width=\"{wide:.1}\" height=\"{}\"/><text x=\"{:.1}\" y=\"{}\">{}</text>\n",
            LABELS - 8,
            y + 14,
            escaped(&bar.label),
            STEP - 8,
            LABELS as f64 + wide + 6.0,
            y + 14,
            escaped(&bar.text)
        ));
    }
    if let Some(line) = line {
        let x = LABELS as f64 + long(line);
        svg.push_str(&format!(
            "<line class=\"line\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\"/>\n",
            TOP - 8,
            height - 8
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
