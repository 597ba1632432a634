"""An SVG file's text as matplotlib writes it in; the same picture in a third of the bytes out.

A page holds dozens of figures and a repository's file has an end, so nothing is said twice: groups
without a meaning go, paths are relative (`outline.py`), a style and a region to clip to are said
once for their neighbours, a shape that is used once stands where it is used. What is drawn, its
order and its words stay. Places are rounded to 0.1 pt; shapes of marks, being small, to 0.01 pt.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from daep_ray.report.outline import number, outline

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
NAMESPACES = {f"{{{SVG}}}": "", f"{{{XLINK}}}": "xlink:"}
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # characters XML has none of
REFERENCE = re.compile(r"#([^)\"\s;]+)")
PLACE, SHAPE = 10, 100  # places and shapes are whole multiples of 1/10 and 1/100 pt
Rule = Callable[[Element], str | None]


def read(text: str) -> Element:
    """The SVG's elements, names without their namespaces, no space between them."""
    root = ElementTree.fromstring(FORBIDDEN.sub("", text))
    for element in root.iter():
        element.tag = _plain(element.tag)
        for name in list(element.attrib):
            element.attrib[_plain(name)] = element.attrib.pop(name)
    for element in _outside_words(root):
        element.text = None
        for child in element:
            child.tail = None
    return root


def write(element: Element) -> str:
    """One element as text."""
    named = "".join(f" {k}={quoteattr(v)}" for k, v in element.attrib.items())
    within = escape(element.text or "") + "".join(map(write, element))
    end = f">{within}</{element.tag}>" if within else "/>"
    return f"<{element.tag}{named}{end}{escape(element.tail or '')}"


def compact(text: str) -> Element:
    """The elements of a whole file; `whole` writes it."""
    root = read(text)
    _drop(root)
    _shorten_styles(root)
    _place_shapes(root)
    _round(root)
    _tidy(root)
    named = {"xmlns": SVG, "xmlns:xlink": XLINK, "stroke-linejoin": "round"}
    root.attrib = {**named, **root.attrib}
    return root


def whole(root: Element) -> str:
    """The file's text."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + write(root) + "\n"


def _plain(name: str) -> str:
    for address, prefix in NAMESPACES.items():
        name = name.replace(address, prefix)
    return name


def _outside_words(element: Element) -> Iterator[Element]:
    """Every element but those of a text, where space is a word's neighbour."""
    if element.tag in ("text", "title"):
        return
    yield element
    for child in element:
        yield from _outside_words(child)


def _drop(root: Element) -> None:
    """What nobody sees, and the file's rule of style, which its root says instead."""
    used = {found for e in root.iter() for v in e.attrib.values() for found in REFERENCE.findall(v)}
    for element in root.iter():
        for child in list(element):
            is_invisible = child.tag == "path" and child.get("style") == "fill: none"
            if child.tag in ("metadata", "style") or is_invisible:
                element.remove(child)
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _shorten_styles(root: Element) -> None:
    for element in root.iter():
        if style := element.get("style"):
            style = style.replace("stroke-dashoffset: 0; ", "")
            element.set("style", re.sub(r"([:;]) ", r"\1", style))


def _place_shapes(root: Element) -> None:
    """Put a shape that is used once, at its own place, where it is used (bands, cells)."""
    shapes = {e.get("id"): e for e in root.iter("path") if e.get("id")}
    uses: dict[str, list[Element]] = {}
    for element in root.iter("use"):
        uses.setdefault(element.get("xlink:href", "")[1:], []).append(element)
    for key, (use, *others) in uses.items():
        shape = shapes.get(key)
        if shape is None or others or float(use.get("x", 0)) or "C" in shape.get("d", ""):
            continue
        shift = (0.0, float(use.get("y", 0)))
        style = ";".join(filter(None, (use.get("style"), shape.get("style"))))
        use.tag, use.attrib = "path", {"d": outline(shape.get("d", ""), PLACE, shift)}
        use.attrib |= {"style": style} if style else {}
        shape.tag = "nothing"


def _round(root: Element) -> None:
    """Places and outlines in few digits."""
    for element in root.iter():
        if element.tag == "path" and not element.get("d", "").startswith("m"):
            is_mark = element.get("id") or "C" in element.get("d", "")
            element.set("d", outline(element.get("d", ""), SHAPE if is_mark else PLACE))
        for name in {"x", "y", "width", "height"}.intersection(element.keys()):
            if element.tag not in ("svg", "pattern"):
                element.set(name, number(round(float(element.get(name, 0)) * PLACE), PLACE))
        if turned := element.get("transform"):
            element.set("transform", re.sub(r"-?\d+\.\d{3,}", _hundredths, turned))


def _hundredths(match: re.Match[str]) -> str:
    return number(round(float(match[0]) * SHAPE), SHAPE)


def _tidy(element: Element) -> None:
    """Children without groups that say nothing, neighbours together."""
    if element.tag in ("text", "title"):
        return
    for child in element:
        _tidy(child)
    children = list(_joined(_unwrapped(element)))
    children = _shared(children, "clip-path", _region)
    element[:] = children if element.tag == "defs" else _shared(children, "style", _mark)
    for group in element:
        if group.keys() == {"clip-path"} and group.tag == "g":
            group[:] = _shared(list(group), "style", _mark)


def _unwrapped(element: Element) -> Iterator[Element]:
    """Children; those of groups and definitions that say nothing, instead of these."""
    for child in element:
        if child.tag == "g" and not child.attrib:
            yield from child
        elif child.tag != "nothing" and (child.tag != "defs" or len(child)):
            yield child


def _joined(children: Iterable[Element]) -> Iterator[Element]:
    """Neighbouring lines of one opaque look become one path: error bars, ticks of a grid."""
    last: Element | None = None
    for child in children:
        if last is not None and _is_line(last) and _look(last) == _look(child):
            last.set("d", f"{last.get('d', '')}{child.get('d', '').replace('m', 'M', 1)}")
        else:
            if last is not None:
                yield last
            last = child
    if last is not None:
        yield last


def _is_line(element: Element) -> bool:
    style = element.get("style", "")
    return element.tag == "path" and "fill:none" in style and "opacity" not in style


def _look(element: Element) -> tuple[str, dict[str, str]]:
    return element.tag, {k: v for k, v in element.attrib.items() if k != "d"}


def _region(element: Element) -> str | None:
    return None if element.get("transform") else element.get("clip-path")


def _mark(element: Element) -> str | None:
    """The style that neighbouring marks of one shape may share: none that acts on a whole group."""
    style = element.get("style", "")
    is_own = element.tag != "use" or re.search(r"(^|;)opacity", style)
    return None if is_own or not style else style


def _shared(children: list[Element], name: str, rule: Rule) -> list[Element]:
    """Say an attribute once, by a group, for neighbours that have it in common."""
    runs: list[list[Element]] = []
    for child in children:
        if runs and rule(child) is not None and rule(child) == rule(runs[-1][-1]):
            runs[-1].append(child)
        else:
            runs.append([child])
    return [_group(run, name) if len(run) > 1 else run[0] for run in runs]


def _group(run: list[Element], name: str) -> Element:
    group = Element("g", {name: run[0].get(name, "")})
    for child in run:
        del child.attrib[name]
        group.extend(child if child.tag == "g" and not child.attrib else [child])
    return group
