"""Which function builds which class of the taxonomy."""

from __future__ import annotations

from collections.abc import Callable

from lookalikes import photographed, tracked, wheeled
from lookalikes.common import Built, Generator

VEHICLES: dict[str, Callable[[Generator], Built]] = {
    "tor-m1": tracked.tor_m1,
    "tor-m2k": wheeled.tor_m2k,
    "osa-akm": wheeled.osa_akm,
    "pantsir-s1-kamaz": wheeled.pantsir_s1_kamaz,
    "buk-m1": photographed.buk_m1,
    "shilka": photographed.shilka,
    "tunguska": tracked.tunguska,
    "gepard": tracked.gepard,
    "strela-10": tracked.strela_10,
    "s-300p-tel": wheeled.s_300p_tel,
    "iris-t-slm-launcher": wheeled.iris_t_slm_launcher,
    "roland": tracked.roland,
    "giraffe-amb": wheeled.giraffe_amb,
    "dprk-tor-like": wheeled.dprk_tor_like,
    "bmp-2": photographed.bmp_2,
    "t-90": photographed.t_90,
    "t-14": photographed.t_14,
}

NOVEL = "dprk-tor-like"
"""Kept out of training: the class of the incident."""

NEIGHBOURS = ("bmp-2", "t-90", "t-14")
"""No air defence: for comparing renders with the real photographs of these types."""
