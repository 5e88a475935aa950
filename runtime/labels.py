"""The five classes in their fixed order, the critical ones among them, and the twelve leads."""

from __future__ import annotations

from typing import Final

__all__ = ["CRITICAL_LABELS", "LABELS", "LABEL_NAMES", "LEADS"]

LABELS: Final = (
    "normal",
    "abnormal_heartbeat",
    "history_of_mi",
    "myocardial_infarction",
    "covid19",
)
"""Label ids, in the order of every probability vector of this project."""

LABEL_NAMES: Final = {
    "normal": "Normal",
    "abnormal_heartbeat": "Abnormal heartbeat",
    "history_of_mi": "History of myocardial infarction",
    "myocardial_infarction": "Active myocardial infarction",
    "covid19": "COVID-19 changes",
}
"""What a person reads, by label id."""

CRITICAL_LABELS: Final = ("myocardial_infarction", "history_of_mi")
"""Classes that have an operating point and raise a flag, whatever the label is."""

LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve standard leads, in the order of the signals file."""
