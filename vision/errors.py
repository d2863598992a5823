"""The tree of errors that a user can cause and mend.

Every message names the place, what is wrong, the value that was found and what to do. The command line prints the
message and exits with `exit_code`; any other exception is a fault of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VisionError(Exception):
    """Something that the user of the toolkit can mend."""

    exit_code = 2


class ConfigError(VisionError):
    """A configuration file or an override has a wrong key or value."""


class TaxonomyError(VisionError):
    """The taxonomy contradicts itself or refers to what is not there."""


class ManifestError(VisionError):
    """The manifest of a data set cannot be used as it is."""

    exit_code = 3


class LicenceError(VisionError):
    """A picture or pretrained weights may not be used under the chosen policy."""

    exit_code = 4


class ImageError(VisionError):
    """A file is no picture that can be decoded whole."""


class WeightsError(VisionError):
    """Pretrained weights are missing or do not fit the network."""


class TrainingError(VisionError):
    """Training went wrong in a way that settings or data can mend."""


class BundleError(VisionError):
    """A model bundle is missing, incomplete or not what its digests say."""


class PredictionsError(VisionError):
    """A file of predictions cannot be read or lacks what is needed."""


class OutputError(VisionError):
    """An output would overwrite something, or cannot be written."""


class InputPathError(VisionError):
    """A path, pattern or list given on the command line leads nowhere."""


class FetchError(VisionError):
    """A source of pictures on the web cannot be asked, or what it sends may not be taken."""


class OneFileError(FetchError):
    """One file of a source cannot be had; the other files can."""


class RefusedAddressError(OneFileError):
    """An address leads to a host that is not on the list, or is not https."""


class TooLargeError(OneFileError):
    """An answer is larger than what may be taken."""


class BrokenDownloadError(OneFileError):
    """A file keeps arriving cut short, or as other bytes than its source says."""


class MissingFileError(OneFileError):
    """The server says that there is no such file."""


class UnavailableError(FetchError):
    """A server did not answer, or asked to be left alone for longer than may be waited; later it may answer."""


class LeftAloneError(UnavailableError):
    """A server asks to be left alone for longer than may be waited."""


class ForbiddenError(FetchError):
    """A server refuses to answer this client at all."""


class AnswerError(FetchError):
    """A server answered with an error of its own, or with what cannot be understood."""


class ReviewError(VisionError):
    """A file of decisions about pictures cannot be read, or says what it cannot say."""


class UsageError(VisionError):
    """Options of a command that do not go together, or one that is missing."""


class MissingExtraError(VisionError):
    """A command needs packages of an extra that is not installed."""


def nearest_name_hint(name: str, known_names: Iterable[str]) -> str:
    """`, did you mean 'x'?` with the known name nearest to `name`, or an empty text if none is near."""
    candidates = list(known_names)
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return f", did you mean '{by_lower_case[matches[0]]}'?" if matches else ""
