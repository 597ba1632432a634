"""The exception tree.

    UserError            one sentence: what is wrong, the value, what is allowed, what to do
    |-- ConfigError      a setting, an override, a preset
    |-- DataError        survey files, shards, recipes
    |-- CheckpointError  a trained model's folder
    `-- StorageError     a path that cannot be read or written, a full disk

The command line prints a UserError as one line on standard error and exits 1 (usage errors: 2).
Anything else is a defect of ours and keeps its traceback. Our own invariants use `assert`.
"""


class UserError(Exception):
    """Something that the user can put right; the message says how, in one sentence."""


class ConfigError(UserError):
    """A setting, an override or a preset is wrong."""


class DataError(UserError):
    """Survey files, shards or a recipe are wrong."""


class CheckpointError(UserError):
    """A trained model's folder is incomplete or does not fit."""


class StorageError(UserError):
    """A path cannot be read or written."""
