"""Each module has its place: the direction of imports, and nothing in common/ that no notebook needs."""

import ast
import re

from common import session
from common.files import ROOT
from tools import notebooks

COMMON = [path for path in (ROOT / "common").rglob("*.py") if path.stem != "__init__"]
NOTEBOOKS = [*ROOT.glob("S*/ideas.py"), *(ROOT / f"{name}.py" for name in notebooks.names())]


def imports(path) -> set[str]:
    """The modules of the course that a file imports, such as "common.data"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if (ROOT / (name.replace(".", "/") + ".py")).exists()}


def test_nothing_that_a_student_imports_needs_tools():
    for path in (*COMMON, *NOTEBOOKS):
        assert not [name for name in imports(path) if name.startswith("tools")], path


def test_models_are_made_of_layers_and_nothing_else():
    for path in (ROOT / "common/models").glob("s*.py"):
        assert imports(path) <= {"common.layers"}
    assert not imports(ROOT / "common/layers.py")


def test_training_knows_no_experiment():
    above = {f"common.{name}" for name in ("experiment", "tables", "plots", "pretrained", "grad_cam")}
    for name in ("training", "augmentation", "layers", "optim", "data", "receptive_field", "results"):
        assert not imports(ROOT / f"common/{name}.py") & above, name


def test_common_has_no_module_that_no_notebook_imports():
    reached, new = set(), set().union(*map(imports, NOTEBOOKS))
    while new:
        reached |= new
        new = set().union(*(imports(ROOT / (name.replace(".", "/") + ".py")) for name in new)) - reached
    there = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in COMMON}
    assert {name for name in there if not name.startswith("common.exercises.")} == reached  # `check` imports by name


def test_budgets_goals_and_seeds_stand_in_session_toml_alone():
    for name in session.names():
        about = session.read(name)
        limits = [target.limit for target in (*about.budget, about.goal) if target.limit > 50]
        for path in (*COMMON, *(ROOT / "tools").glob("*.py"), *NOTEBOOKS):
            code = re.sub(r"#.*", "", path.read_text()).replace("_", "")
            assert not [limit for limit in limits if re.search(rf'Target\("\w+", "\W+", {limit}\b', code)], path


def test_a_notebook_has_four_parameters_a_short_set_up_cell_and_a_size_that_github_shows():
    for name in notebooks.names():
        cells = notebooks.read(ROOT / f"{name}.ipynb").cells
        parameters = next(cell.source for cell in cells if "parameters" in notebooks.tags(cell))
        assert re.findall(r"^(\w+):", parameters, re.MULTILINE) == ["preset", "seed", "epochs", "output"]
        setup = next(cell for cell in cells if "setup" in notebooks.tags(cell))
        assert len(setup.source.splitlines()) <= 8 and setup.metadata["jupyter"]["source_hidden"]
        assert (ROOT / f"{name}.ipynb").stat().st_size < 500_000
    assert all(path.stat().st_size < 150_000 for path in ROOT.glob("S*/results/figures/*.png"))


def test_notebooks_draw_where_the_images_are():
    """A generator that isn't made for the images' device fails on a GPU."""
    assert not [path for path in NOTEBOOKS if "Generator()" in path.read_text()]
