"""Export the network of a model by torch.export, run the exported program, and make panoptic maps of its tensors.

python examples/export_raw.py [CONFIG]
"""

from __future__ import annotations

import argparse

import torch
from torch.export import Dim, export

from panoptic_blend import build_model, load_config
from panoptic_blend.models.panoptic_blend import RawNetwork


def main() -> None:
    """Export with dynamic sides, and compare the exported program with the model on a picture of another size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="demo/shapes_r18")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = build_model(load_config(arguments.config)).eval()

    sides = {axis: 32 * Dim(f"cells_{axis}", min=5, max=64) for axis in (2, 3)}  # multiples of 32, from 160 to 2048
    example = torch.zeros(1, 3, 256, 320)
    program = export(RawNetwork(model), (example,), dynamic_shapes={"batch": sides}, strict=False)

    picture = torch.rand(3, 180, 250)
    with torch.inference_mode():
        raw = program.module()(model.batch([picture]))  # normalized, and padded to 192 x 256
        [output] = model.outputs(raw, sizes=[(180, 250)], output_sizes=[(180, 250)])
        [expected] = model([picture])
    share = (output.panoptic.segment_ids == expected.panoptic.segment_ids).mean()
    print(f"{len(raw)} tensors from {len(list(program.graph.nodes))} operations; {share:.2%} of the pixels agree")
    for name, tensor in sorted(raw.items()):
        print(f"  {name} {tuple(tensor.shape)}")


if __name__ == "__main__":
    main()
