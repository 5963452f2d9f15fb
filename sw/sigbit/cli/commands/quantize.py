"""``sigbit quantize``: from a float checkpoint to a Program, without training."""

from functools import partial

from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Arch, Model, NetworkOptions, images_as
from sigbit.cli.console.quantize_options import (
    BudgetOptions,
    CalibrationOptions,
    FormatOptions,
    OutputOptions,
    PostTrainingOptions,
)
from sigbit.cli.console.quantize_tables import show_quantized
from sigbit.cli.console.telling import telling
from sigbit.errors import UserError
from sigbit.ir import MODEL_SUFFIX


@grouped
def quantize(
    model: Model,
    output: OutputOptions,
    samples: CalibrationOptions,
    formats: FormatOptions,
    search: BudgetOptions,
    network: NetworkOptions,
    post: PostTrainingOptions,
    arch: Arch = "micro",
) -> None:
    """Quantize a trained float network and compile it: a checkpoint becomes a Program."""
    from sigbit.flows.budget import Budget
    from sigbit.flows.formats import Formats
    from sigbit.flows.pages.quantize import page
    from sigbit.flows.quantize import quantize as flow
    from sigbit.flows.quantized import PostTraining
    from sigbit.inputs.labels import read_labels
    from sigbit.inputs.networks import Network
    from sigbit.inputs.samples import Calibration
    from sigbit.quant.post import Reconstruction
    from sigbit.training.finetune import FineTuning

    if post.use_labels and post.finetune is None:
        raise UserError("--use-labels belongs to --finetune EPOCHS: add it, or leave both out")
    budget = Budget.parse(search.budget or (), search.target)
    if budget.luts is not None and output.output.suffix == MODEL_SUFFIX and output.json is None:
        raise UserError(
            "--budget luts=N chooses an accelerator, which an integer model does not hold: add "
            "--json FILE, which does, or let -o end in .sigbit"
        )
    with telling(remaining=True) as tell:
        result = flow(
            Network(
                model,
                tuple(network.shapes or ()),
                network.checkpoint,
                tuple(network.cuts or ()),
                tuple(network.states or ()),
            ),
            Calibration(
                samples.calibrate,
                samples.images,
                samples.test,
                samples.chunk,
                samples.bulk,
                samples.data,
                images_as(samples),
                tuple(read_labels(samples.labels)),
                details=output.report is not None,
            ),
            output.output,
            arch=arch,
            formats=Formats(
                formats.weights, formats.acts, formats.first_last, tuple(formats.bits or ())
            ),
            budget=budget,
            post=PostTraining(
                post.equalize,
                post.bias_correction,
                post.activation_aware,
                Reconstruction(steps=post.steps) if post.reconstruct else None,
                FineTuning(post.finetune, post.use_labels) if post.finetune else None,
                output.exact,
            ),
            tell=tell,
        )
    show_quantized(result, arch if budget.luts is None else str(output.json))
    write_json(output.json, result)
    write_report(output.report, partial(page, result))
