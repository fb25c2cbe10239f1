"""Images: a copy for models, upright and without metadata, and a small preview, by Pillow."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from kheish.jobs.converting.limits import PIXELS, Refused

NAME = "pillow"
TYPES = {
    "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP", "image/bmp": "BMP",
    "image/tiff": "TIFF",
}  # fmt: skip
LONGEST, PREVIEW = 1568, 256  # pixels of the longer side
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image."""

    content: bytes
    media_type: str
    width: int
    height: int


def convert(raw: bytes, media_type: str) -> tuple[str, Picture, Picture]:
    """Return the version of the library, the copy for models, and the preview. Raises Refused."""
    from PIL import Image, ImageOps, UnidentifiedImageError, __version__

    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # the limit stands here, before anything is unpacked
    if media_type not in TYPES:
        raise Refused(f"Images of the type {media_type} are not converted.")
    try:
        with Image.open(io.BytesIO(raw), formats=(TYPES[media_type],)) as image:
            width, height = image.size
            if width * height > PIXELS:
                raise Refused(f"The image has {width} by {height} pixels; at most {PIXELS} are unpacked.")
            upright = ImageOps.exif_transpose(image)
            has_alpha = "A" in upright.getbands() or "transparency" in upright.info
            plain = upright.convert("RGBA" if has_alpha else "RGB")
    except UnidentifiedImageError as error:  # its text names an object in memory
        raise Refused(f"The image cannot be read: its content is no {TYPES[media_type]}, or is damaged.") from error
    except (OSError, SyntaxError, ValueError, EOFError, KeyError) as error:
        raise Refused(f"The image cannot be read: {error}") from error
    return __version__, _scaled(plain, LONGEST), _scaled(plain, PREVIEW)


def _scaled(image: object, longest: int) -> Picture:
    from PIL import Image

    assert isinstance(image, Image.Image)
    small = image.copy()
    small.info.clear()
    small.thumbnail((longest, longest))
    kind = "PNG" if small.mode == "RGBA" else "JPEG"
    buffer = io.BytesIO()
    small.save(buffer, kind, **({"quality": _QUALITY} if kind == "JPEG" else {"optimize": False}))
    return Picture(buffer.getvalue(), f"image/{kind.lower()}", *small.size)
