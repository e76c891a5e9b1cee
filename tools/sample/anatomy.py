"""The body of a specimen as shapes, in body lengths: the tail at (0, 0), the head towards (1, 0)."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from .traits import LEG_PAIRS, TRAITS, WING_PAIRS

Point = tuple[float, float]


@dataclass
class Shape:
    """A polygon, or a line if it has a width.

    Attributes:
        points: Corners in body lengths, shape (k, 2).
        colour: Red, green, blue from 0 to 1.
        opacity: From 0 to 1.
        width: Line width in body lengths, 0 for a polygon.
        layer: 0 limbs, 1 body and opaque wings, 2 clear wings: drawn in this order; only the first two are shaded.
    """

    points: np.ndarray
    colour: tuple[float, float, float]
    opacity: float = 1.0
    width: float = 0.0
    layer: int = 1


def ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    """Outline of an ellipse about (x, y) with half axes a and b."""
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + a * np.cos(turn), y + b * np.sin(turn)], axis=1)


def rotate(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn `points` counter-clockwise by `angle` radians about the origin."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


class Specimen:
    """The shapes of one specimen.

    Attributes:
        shapes: In drawing order within a layer.
    """

    def __init__(self, traits: np.ndarray, order: int, rng: np.random.Generator) -> None:
        """Pose a specimen of a species.

        Args:
            traits: Traits of the species, in the order of `TRAITS`.
            order: Index of its order.
            rng: Source of what is its own: size, posture, shade.
        """
        self.t = dict(zip(TRAITS, traits.tolist(), strict=True))
        self.order = order
        self.rng = rng
        self.t["value"] *= float(np.exp(rng.normal(0, 0.08)))
        self.lateral = rng.random() < 0.35
        self.middle = 1 - self.t["head"] - self.t["thorax"]  # where the thorax begins
        self.shapes: list[Shape] = []
        self.draw_legs()
        self.draw_antennae()
        self.draw_body()
        self.draw_wings()
        bend = rng.normal(0, 0.25)
        for shape in self.shapes:
            x, y = shape.points.T
            shape.points = np.stack([x, y + bend * (x - 0.6) ** 2], axis=1)

    def colour(self, lighter: float = 0.0) -> tuple[float, float, float]:
        """The body's colour, `lighter` in value."""
        value = float(np.clip(self.t["value"] + lighter, 0.05, 0.95))
        return colorsys.hsv_to_rgb(self.t["hue"] % 1, self.t["saturation"], value)

    def limb(self, start: Point, angles: list[float], lengths: list[float], width: float, lighter: float) -> None:
        """A jointed limb from `start`; every joint is thinner than the one before."""
        points = [np.array(start)]
        for angle, length in zip(angles, lengths, strict=True):
            points.append(points[-1] + length * np.array([np.cos(angle), np.sin(angle)]))
            self.shapes.append(Shape(np.array(points[-2:]), self.colour(lighter), 1.0, width, 0))
            width *= 0.68

    def draw_legs(self) -> None:
        """Pairs of legs with three joints; in a side view both of a pair hang down."""
        t, rng = self.t, self.rng
        pairs = LEG_PAIRS[self.order]
        for pair in range(pairs):
            place = pair / (pairs - 1)  # 0 fore, 1 hind
            for side in (-1, 1):
                down = -1 if self.lateral else side
                base = (1 - t["head"] - t["thorax"] * (0.15 + 0.65 * place), down * t["girth"] * 0.7)
                angle = 0.75 + 1.5 * place + rng.normal(0, 0.15)
                knee = (1.0 if place > 0.4 else -0.7) * rng.uniform(0.4, 1.1)
                angles = [down * angle, down * (angle + knee * 0.8), down * (angle + knee * 1.2 + rng.normal(0, 0.2))]
                length = t["leg"] * (0.85 + 0.3 * place * (pairs == 3))
                self.limb(base, angles, [0.36 * length, 0.36 * length, 0.28 * length], 0.045, t["limb"])

    def draw_antennae(self) -> None:
        """Two curved antennae."""
        t, rng = self.t, self.rng
        for side in (-1, 1):
            start = (1 - 0.15 * t["head"], side * t["girth"] * 0.3)
            angles = [side * (0.35 + 0.3 * k + rng.normal(0, 0.1)) for k in range(3)]
            self.limb(start, angles, [t["antenna"] / 3] * 3, 0.028, t["limb"] - 0.05)

    def draw_body(self) -> None:
        """Abdomen with bands, thorax, head with eyes, and bristles."""
        t, rng = self.t, self.rng
        wide = t["girth"] * t["belly"]
        along = np.linspace(0, 1, 24)  # from the waist to the tail
        profile = np.sqrt(np.clip(1 - (2 * along - 1) ** 2, 0, 1)) * (1 - t["taper"] * 0.75 * along)
        profile = np.maximum(profile, t["waist"] * 0.8 * (1 - along) ** 2) * wide / profile.max()
        x = self.middle * (1 - along) + 0.04 * (1 - along)
        outline = np.concatenate([np.stack([x, profile], axis=1), np.stack([x, -profile], axis=1)[::-1]])
        tone = t["abdomen"]
        self.shapes.append(Shape(outline, self.colour(tone)))
        rings = round(t["rings"])
        for ring in range(1, rings):
            at = round(24 * ring / rings)
            band = np.array([[x[at], profile[at]], [x[at], -profile[at]]])
            self.shapes.append(Shape(band, self.colour(tone - 0.35), t["bands"], 0.45 * self.middle / rings))
        centre = 1 - t["head"] - t["thorax"] / 2
        self.shapes.append(Shape(ellipse(centre, 0, t["thorax"] * 0.58, t["girth"]), self.colour()))
        front = 1 - t["head"] / 2
        self.shapes.append(Shape(ellipse(front, 0, t["head"] * 0.58, t["girth"] * 0.72), self.colour(-0.06)))
        for side in (-1, 1):
            size = t["eye"] * t["head"] * 0.5
            beside = side * t["girth"] * (0.72 - 0.3 * t["eye"])
            eye = ellipse(front + 0.1 * t["head"], beside, size, min(size, t["girth"] * 0.6))
            self.shapes.append(Shape(eye, (0.25, 0.09, 0.07) if self.order == 0 else (0.1, 0.08, 0.08)))
        for _ in range(round(26 * t["bristles"])):
            where, side = rng.uniform(0.05, 0.95), int(rng.choice([-1, 1]))
            base = (where, side * t["girth"] * 0.8)
            self.limb(base, [side * rng.uniform(1.4, 2.4)], [0.09], 0.012, -0.2)

    def draw_wings(self) -> None:
        """Wings from the thorax backwards, the hind pair first; in a side view both of a pair stand up."""
        t, rng = self.t, self.rng
        for pair in reversed(range(WING_PAIRS[self.order])):
            for side in (-1, 1):
                up = 1 if self.lateral else side
                spread = t["spread"] * (1 - 0.4 * pair) + rng.normal(0, 0.02 + 0.1 * (t["spread"] > 0.2))
                spread += (0.1 + 0.12 * side) * self.lateral
                hinge = np.array([1 - t["head"] - t["thorax"] * (0.35 + 0.25 * pair), up * t["girth"] * 0.35])
                self.draw_wing(hinge, np.pi - up * spread, t["wing"] * (1 - 0.25 * pair), up)

    def draw_wing(self, hinge: np.ndarray, angle: float, length: float, up: int) -> None:
        """One wing of `length` from `hinge` in the direction `angle`."""
        t = self.t
        turn = np.linspace(0, np.pi, 16)
        reach = length * (1 - np.cos(turn)) / 2
        width = length * t["breadth"]
        # The leading edge is straighter than the trailing one.
        trailing = 0.7 * width * np.sin(turn) ** 0.8 * (0.55 + 0.45 * reach / length)
        leading = np.stack([reach, 0.3 * width * np.sin(turn)], axis=1)
        edge = np.concatenate([leading, np.stack([reach, -trailing], axis=1)[::-1]])

        def place(points: np.ndarray) -> np.ndarray:
            return hinge + rotate(points * [1, -up], angle)

        clear = t["opacity"] < 0.5
        layer = 2 if clear else 1
        tone = (0.62, 0.6, 0.55) if clear else self.colour(0.05)
        self.shapes.append(Shape(place(edge), tone, t["opacity"], 0.0, layer))
        dark = self.colour(-0.3)
        self.shapes.append(Shape(place(np.concatenate([edge, edge[:1]])), dark, 0.55, 0.012, layer))
        for vein in (0.12, -0.12, -0.36) if clear else ():
            line = np.stack([reach[:14], vein * width * np.sin(turn[:14] * 0.75)], axis=1)
            self.shapes.append(Shape(place(line), dark, 0.45, 0.01, 2))
        for spot in range(3):
            # Where the spots sit follows from other traits, so that species differ.
            x = length * (0.3 + 0.25 * spot + 0.4 * (t["girth"] - 0.13))
            blot = ellipse(x, width * (-0.28 + 0.25 * (spot % 2)), length * 0.07, width * 0.13)
            self.shapes.append(Shape(place(blot), dark, t["spots"], 0.0, layer))
