"""The names of DJI's models. Source: DJI's page of supported products."""

from typing import Final

_NAMES: Final = {
    "0-60-0": "Matrice 300 RTK",
    "0-67-0": "Matrice 30",
    "0-67-1": "Matrice 30T",
    "0-77-0": "Mavic 3E",
    "0-77-1": "Mavic 3T",
    "0-89-0": "Matrice 350 RTK",
    "0-91-0": "Matrice 3D",
    "0-91-1": "Matrice 3TD",
    "0-99-0": "Matrice 4E",
    "0-99-1": "Matrice 4T",
    "0-100-0": "Matrice 4D",
    "0-100-1": "Matrice 4TD",
    "0-103-0": "Matrice 400",
    "2-56-0": "DJI Smart Controller Enterprise",
    "2-119-0": "DJI RC Plus",
    "2-144-0": "DJI RC Pro Enterprise",
    "2-174-0": "DJI RC Plus 2",
    "3-1-0": "DJI Dock",
    "3-2-0": "DJI Dock 2",
    "3-3-0": "DJI Dock 3",
}


def name(model: str) -> str:
    """The name of ``{domain}-{type}-{sub_type}``; "" for one that is not listed here."""
    return _NAMES.get(model, "")
