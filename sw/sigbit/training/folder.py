"""The folder of a run: its configuration, checkpoint, log and results, and the conditions for
resuming it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigbit.errors import TrainingError
from sigbit.ir import MODEL_SUFFIX
from sigbit.training.config import RunConfig
from sigbit.training.files import restore, save, write_json
from sigbit.training.states import Checkpoint, Stage, Summary, check
from sigbit.training.tables import differences
from sigbit_tools.files import read_json
from sigbit_tools.shown import shown

FORMAT = 1
"""Version of checkpoints."""


class RunFolder:
    """Files of one run.

    ``config.json``: the configuration with all defaults; ``checkpoint.pt``: state of the training;
    ``float.safetensors``: the trained twin; ``stage.pt``: result of the first of two stages;
    ``prepared.pt``: state of the trained prepared model; ``model.sbm``: the integer model, for
    ``sigbit compile``; ``log.csv``; ``summary.json``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _config(self) -> Path:
        return self.path / "config.json"

    @property
    def checkpoint(self) -> Path:
        """State of the training."""
        return self.path / "checkpoint.pt"

    @property
    def twin(self) -> Path:
        """Weights of the trained float network."""
        return self.path / "float.safetensors"

    @property
    def stage(self) -> Path:
        """Weights and bits at the end of the first stage of a continued run."""
        return self.path / "stage.pt"

    @property
    def model(self) -> Path:
        """The integer model."""
        return self.path / f"model{MODEL_SUFFIX}"

    @property
    def summary(self) -> Path:
        """The results; present once everything is done."""
        return self.path / "summary.json"

    def check(self, config: RunConfig, facts: Mapping[str, object], resume: bool) -> None:
        """Check that a run can start here, or with ``resume`` continue.

        Raises :class:`TrainingError` if there is a run that is not to be resumed, or if the resumed
        one has another configuration or machine; the text describes the difference.
        """
        kept = self._config
        if resume and not kept.exists():
            raise TrainingError(f"{self.path} holds no run to resume: leave out --resume")
        if not kept.exists():
            return
        if not resume:
            raise TrainingError(
                f"{self.path} holds a run already: resume it with --resume, or use another folder"
            )
        before = self._document()
        self._same("configuration", before["run"], config.to_table())
        if not self.summary.exists():
            self._same("machine", before["machine"], dict(facts))

    def configuration(self) -> dict[str, Any]:
        """The table of the run that is here; :class:`TrainingError` if there is none."""
        if not self._config.exists():
            raise TrainingError(f"{self.path} holds no run of sigbit train")
        table = self._document()["run"]
        if not isinstance(table, dict) or not isinstance(table.get("model"), dict):
            raise TrainingError(f"{self._config} is not the configuration of a run")
        return table

    def _document(self) -> dict[str, Any]:
        before = read_json(self._config)
        if not isinstance(before, dict) or not {"run", "machine"} <= set(before):
            raise TrainingError(
                f"{self._config} is not the configuration of a run: use a new folder"
            )
        return before

    def begin(self, config: RunConfig, facts: Mapping[str, object]) -> None:
        """Create the folder with the configuration in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        document = {"run": config.to_table(), "digest": config.digest, "machine": facts}
        write_json(self._config, document)

    def tidy(self) -> None:
        """Remove half-written files of a killed process."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def _same(self, what: str, before: object, now: object) -> None:
        if lines := differences(before, now):
            raise TrainingError(
                f"{self.path} was begun with another {what}, so that resuming would give another "
                "result (before -> now):\n  "
                + "\n  ".join(lines)
                + "\nUse the same one, or a new folder."
            )

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        save(self.checkpoint, {"format": FORMAT, **state})

    def restore(self) -> dict[str, Any] | None:
        """The last checkpoint; None if there is none yet."""
        if not self.checkpoint.exists():
            return None
        state = restore(self.checkpoint)
        if state.get("format") != FORMAT:
            raise TrainingError(
                f"{self.checkpoint} has format {shown(state.get('format'))}, this version reads "
                f"{FORMAT}"
            )
        check(Checkpoint, state, str(self.checkpoint))
        return state

    def restore_stage(self) -> dict[str, Any]:
        """Result of the first of two stages."""
        state = restore(self.stage)
        check(Stage, state, str(self.stage))
        return state

    def results(self) -> dict[str, Any] | None:
        """The results; None until everything is done."""
        if not self.summary.exists():
            return None
        summary: dict[str, Any] = read_json(self.summary)
        check(Summary, summary, str(self.summary))
        return summary
