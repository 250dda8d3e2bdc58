"""Ratios as bars and costs as curves, in one SVG."""

import math
import statistics

from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP = 960, 400, 14, 8
OWN, PEER, WANTED = "#2b6cb0", "#a0aec0", "#c53030"


class Drawing:
    def __init__(self):
        self.parts, self.height = [], 0

    def text(self, x, y, text, anchor="start", size=12):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>')

    def box(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>')

    def line(self, points, stroke, width=1):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>')

    def __str__(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height}" '
                f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>' + "\n".join(self.parts) +
                "</svg>\n")


def bars(drawing, rows, results):
    """How often rewind does what a peer does, with what is wanted as a red mark; on a logarithmic axis."""
    def place(ratio):
        return LEFT + (math.log2(min(max(ratio, 1 / 16), 64)) + 4) / 10 * (WIDTH - LEFT - 120)

    y = 30
    drawing.text(20, y, "rewind against its peers (1: as fast; the red mark is what is wanted)", size=15)
    y += 16
    top = y
    for row in rows:
        figures = results.get(row.name)
        if not row.over or not figures or not figures.get("rewind"):
            continue
        for peer, wanted in row.over:
            if not figures.get(peer):
                continue
            ratio = statistics.median(figures["rewind"]) / statistics.median(figures[peer])
            drawing.text(LEFT - 8, y + BAR - 3, f"{row.title} / {peer}", "end", 11)
            drawing.box(LEFT, y, max(1, place(ratio) - LEFT), BAR, OWN if ratio >= wanted else PEER)
            drawing.box(place(wanted) - 1, y - 2, 2, BAR + 4, WANTED)
            drawing.text(max(place(ratio), place(wanted)) + 6, y + BAR - 3, f"{ratio:.2f}", size=11)
            y += BAR + GAP
    for power in range(-4, 7, 2):
        x = place(2.0**power)
        drawing.line([(x, top), (x, y)], "#e2e8f0")
        drawing.text(x, y + 14, f"{2.0**power:g}", "middle", 11)
    drawing.height = y + 40


def curve(drawing, title, labels, lines):
    """`lines`: name -> values; one axis for all, from zero."""
    top, height = drawing.height + 30, 180
    highest = max(max(values) for _, values in lines) * 1.1
    drawing.text(20, top - 10, title, size=15)

    def place(index, value):
        return 80 + index * (WIDTH - 320) / max(1, len(labels) - 1), top + height * (1 - value / highest)

    for part in range(5):
        value = highest * part / 4
        drawing.line([place(0, value), place(len(labels) - 1, value)], "#e2e8f0")
        drawing.text(72, place(0, value)[1] + 4, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}", "end", 11)
    for index, label in enumerate(labels):
        drawing.text(place(index, 0)[0], top + height + 16, label, "middle", 11)
    colours = (OWN, "#2f855a", "#b7791f", "#805ad5", WANTED, "#4a5568")
    end = -1e9
    for (name, values), colour in sorted(zip(lines, colours), key=lambda item: -item[0][1][-1]):
        points = [place(index, value) for index, value in enumerate(values)]
        drawing.line(points, colour, 2)
        end = max(points[-1][1] + 4, end + 13)
        drawing.text(points[-1][0] + 8, end, name, size=11)
    drawing.height = top + height + 40


def write(path, rows, results, curves):
    drawing = Drawing()
    bars(drawing, rows, results)
    writers = [("writers-1", "1"), ("writers-2", "2"), ("write-8k-jobs", "4"), ("writers-8", "8")]
    if all(results.get(name) for name, _ in writers):
        lines = [(peer, [statistics.median(results[name][peer]) for name, _ in writers])
                 for peer in results["writers-1"] if all(results[name].get(peer) for name, _ in writers)]
        curve(drawing, "8 KiB writes with fdatasync each, per second, by number of writers", [label for _, label in writers],
              lines)
    if curves:
        labels = [f"{point['history']:,}" for point in curves]

        def medians(key):
            return [statistics.median(point[key]) for point in curves]

        curve(drawing, "live 4 KiB reads and writes per second, by writes of history", labels,
              [("read (O_DIRECT)", medians("read_rates")), ("write", medians("write_rates"))])
        curve(drawing, "a view at a random instant with its first read, ms, by writes of history", labels,
              [("view", medians("views"))])
    with open(path, "w", encoding="utf-8") as out:
        out.write(str(drawing))
