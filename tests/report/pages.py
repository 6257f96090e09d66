"""A strict look at a page of HTML and at the pictures beside it."""
import csv, ctypes, os, struct, zlib
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
from PIL import Image

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}
# elements of SVG that the page closes at once
FOREIGN = {"path", "rect", "use", "image"}


class Page(HTMLParser):
    """Tags are balanced, ids are unique, references lead somewhere, nothing is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.references, self.faults, self.words, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        if self.open:
            self.faults.append(f"never closed: {self.open}")
        for name in set(self.ids):
            if self.ids.count(name) > 1:
                self.faults.append(f"id {name} stands {self.ids.count(name)} times")
        for name in self.references:
            if name not in self.ids:
                self.faults.append(f"#{name} leads nowhere")

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.attributes(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in FOREIGN:
            self.faults.append(f"<{tag}/>")
        self.attributes(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} closes something else")

    def attributes(self, tag, attributes):
        names = [name for name, _ in attributes]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice")
        for name, value in attributes:
            if value is None or name.startswith("on") or name in ("src", "srcset", "action", "xlink:href"):
                self.faults.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value)
            if name == "href" and value.startswith("#"):
                self.references.append(value[1:])
            elif name == "href" and not value.startswith(("figures/", "data:image/png;base64,")):
                self.faults.append(f"href={value}")
            if name == "style" and "url" in value:
                self.faults.append(f"style={value}")
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.faults.append(f"<{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style" and ("url(" in data or "@import" in data):
            self.faults.append("style loads something")
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def handle_decl(self, decl):
        if decl != "DOCTYPE html":
            self.faults.append(decl)

    def text(self):
        return " ".join("".join(self.words).split())


def png_shape(path):
    """Shape of a PNG whose pixels unpack to their size."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, packed, shape = 8, b"", None
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0], path
        if kind == b"IHDR":
            shape = struct.unpack(">II", body[:8])[::-1]
        packed += body if kind == b"IDAT" else b""
        at += 12 + n
    assert len(zlib.decompress(packed)) == shape[0] * (1 + 3 * shape[1]), path
    return shape


def has_rasteriser():
    if os.environ.get("XCSCT_BUILD") == "Sanitize":  # left out there
        return False
    try:
        ctypes.CDLL("librsvg-2.so.2")
    except OSError:
        return False
    return True


def check_plot_png(test, folder, name):
    """Beside a drawing: the same in two pixels per px, with ink on white paper; with letters where there are any."""
    path = os.path.join(folder, name[:-4] + ".png")
    test.assertEqual(os.path.exists(path), has_rasteriser(), path)
    if not has_rasteriser():
        return
    root = ElementTree.parse(os.path.join(folder, name)).getroot()
    wide, high = (float(root.get(k)) for k in ("width", "height"))
    test.assertEqual(png_shape(path), (2 * high, 2 * wide))
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    test.assertEqual(tuple(pixels[-1, -1]), (255, 255, 255), "the paper")
    for text in root.iter("{http://www.w3.org/2000/svg}text"):  # the first one lies in the first panel, at the corner
        if text.get("transform"):
            continue
        x, y, size = (2 * float(text.get(k)) for k in ("x", "y", "font-size"))
        near = pixels[max(0, int(y - size)):int(y + 1), max(0, int(x - 20)):int(x + 20)]
        test.assertLess(near.min(), 120, f"{name}: no letters where '{text.text}' stands")
        return


def check_figures(test, folder):
    """Every SVG is well-formed, loads nothing and has its PNG; every PNG unpacks, every CSV has even rows; how many there are."""
    counts = {"svg": 0, "png": 0, "csv": 0}
    for name in sorted(os.listdir(folder)):
        path, ending = os.path.join(folder, name), name.rsplit(".", 1)[-1]
        counts[ending] += 1
        if ending == "svg":
            check_plot_png(test, folder, name)
            for element in ElementTree.parse(path).iter():
                for key, value in element.attrib.items():
                    test.assertFalse(key.endswith("href") and not value.startswith("data:image/png"), (name, value[:40]))
        if ending == "png":
            png_shape(path)
        if ending == "csv":
            with open(path, newline="") as f:
                widths = {len(row) for row in csv.reader(f)}
            test.assertEqual(len(widths), 1, name)
    return counts
