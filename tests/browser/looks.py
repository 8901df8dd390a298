"""What an eye would tell of a page: whether it can be read, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Locator

_CONTRASTS = """
root => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 1;
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    const rgba = color => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = color;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below, alpha) => below.map((c, i) => alpha * top[i] + (1 - alpha) * c);
    const luminance = color => {
        const [r, g, b] = color.map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode());) {
        const element = node.parentElement;
        if (!node.data.trim() || !element.checkVisibility()) continue;
        const above = [];
        for (let e = element; e; e = e.parentElement) above.unshift(e);
        let ground = [255, 255, 255], alpha = 1;
        for (const e of above) {
            const style = getComputedStyle(e), fill = rgba(style.backgroundColor);
            alpha *= parseFloat(style.opacity);
            ground = over(fill, ground, fill[3] * alpha);
        }
        const ink = rgba(getComputedStyle(element).color);
        const text = over(ink, ground, ink[3] * alpha);
        const [light, dark] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
        const ratio = (light + 0.05) / (dark + 0.05);
        found.push({text: node.data.trim(), ratio, ground: luminance(ground)});
    }
    return found;
}
"""

_OVERFLOWS = """
root => {
    const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
    const name = e => `${e.tagName.toLowerCase()}.${e.className}`;
    const wide = [];
    if (document.documentElement.scrollWidth > window.innerWidth) wide.push('the page');
    // What is around a notebook is JupyterLab's own matter.
    for (let e = root; e && !e.matches('.jp-NotebookPanel'); e = e.parentElement)
        if (scrolls(e) && e.scrollWidth > e.clientWidth + 1) wide.push(name(e));
    const right = root.getBoundingClientRect().right + 1;
    for (const e of root.querySelectorAll('*')) {
        let inside = e.parentElement;
        while (inside !== root && !scrolls(inside)) inside = inside.parentElement;
        if (inside === root && e.checkVisibility() && e.getBoundingClientRect().right > right)
            wide.push(name(e));
    }
    return wide;
}
"""


@dataclass(frozen=True, slots=True)
class Contrast:
    """How a piece of text stands out: 1 is not at all, 4.5 is what is asked of a page."""

    text: str
    ratio: float
    ground: float
    """The luminance of what it stands on, between 0 and 1."""


def contrasts(of: Locator) -> list[Contrast]:
    """Return the contrast of each piece of text that can be seen."""
    return [Contrast(**found) for found in of.evaluate(_CONTRASTS)]


def hard_to_read(of: Locator, theme: str) -> list[Contrast]:
    """Return the text that does not stand out, or stands on a ground unlike that of its theme."""
    found = contrasts(of)
    assert found, "there is no text"
    return [one for one in found if one.ratio < 4.5 or (one.ground > 0.5) != (theme == "light")]


def overflows(of: Locator) -> list[str]:
    """Return what is wider than its place, apart from what scrolls within one of its own."""
    wide: list[str] = of.evaluate(_OVERFLOWS)
    return wide
