"""Networks of the zoo in sizes for tests."""

SMALL: dict[str, tuple[dict[str, object], tuple[int, ...]]] = {
    "alexnet": ({"hidden": 16}, (3, 64, 64)),
    "vgg11": ({"hidden": 16}, (3, 32, 32)),
    "vgg11_bn": ({"hidden": 16}, (3, 32, 32)),
    "resnet18": ({"width": 8}, (3, 64, 64)),
    "resnet34": ({"width": 8}, (3, 64, 64)),
    "resnet50": ({"width": 8}, (3, 64, 64)),
    "densenet121": ({"growth": 8, "blocks": (2, 2, 2)}, (3, 64, 64)),
    "squeezenet1_0": ({"classes": 10}, (3, 64, 64)),
    "squeezenet1_0_caffe": ({"classes": 10}, (3, 63, 63)),
    "deit_tiny": ({"size": 64, "width": 12, "depth": 2}, (3, 64, 64)),
    "deit_base": ({"size": 64, "width": 24, "depth": 1}, (3, 64, 64)),
    "vit_32": ({"width": 12, "depth": 1}, (3, 32, 32)),
    "mobilenet_v1": ({"width": 0.25}, (3, 64, 64)),
    "mobilenet_v1_050_160": ({"width": 0.25}, (3, 64, 64)),
    "mobilenet_v2": ({"width": 0.25}, (3, 64, 64)),
    "mobilenet_v2_tf": ({"width": 0.25}, (3, 64, 64)),
    "unet": ({"width": 4}, (1, 32, 48)),
    "unet_nearest": ({"width": 4}, (1, 32, 48)),
    "lstm": ({"layers": 2, "hidden": 8}, (6, 20)),
    "gru": ({"layers": 2, "hidden": 8}, (6, 20)),
}
"""Options and input shapes that leave a network's structure and make it quick."""
