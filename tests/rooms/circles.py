"""Print the import circles of the product, modules that import each other in a ring.

Imports inside functions and for type checking count. Run as a script: exits with 1 if there are
any.
"""

import sys

import grimp
import networkx

PACKAGES = (
    "sigbit",
    "sigbit_boards",
    "sigbit_hw",
    "sigbit_sim",
    "sigbit_synthesis",
    "sigbit_tools",
)


def circles() -> list[list[str]]:
    """Return the modules of every circle, the largest circle first."""
    graph = networkx.DiGraph()
    imports = grimp.build_graph(*PACKAGES)
    for module in imports.modules:
        graph.add_node(module)
        graph.add_edges_from(
            (module, imported) for imported in imports.find_modules_directly_imported_by(module)
        )
    rings = [
        sorted(ring) for ring in networkx.strongly_connected_components(graph) if len(ring) > 1
    ]
    return sorted(rings, key=lambda ring: (-len(ring), ring))


if __name__ == "__main__":
    found = circles()
    for ring in found:
        print(" - ".join(ring))
    print(f"{len(found)} import circles" if found else "no import circles")
    sys.exit(bool(found))
