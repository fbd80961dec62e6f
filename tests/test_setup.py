"""What the set-up cell leaves to common.setup."""

import importlib.util
import subprocess
from types import SimpleNamespace

import pytest

from common import setup


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel in an empty course, which has the packages in `has`; pip is only noted."""
    has, asked = {"torch", "torchvision", "seen"}, []
    (tmp_path / "requirements.txt").write_text("# why\ntorch>=2\ntorchvision>=1\nseen>=1,<2  # a\nnew-one>=3  # b\n")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in has or None)
    answer = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command[-1]) or answer)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(has=has, asked=asked, answer=answer, folder=tmp_path)


def test_it_installs_what_is_missing_and_never_torch(kernel, capsys):
    setup.prepare()
    assert kernel.asked == ["new-one>=3"] and not capsys.readouterr().out
    kernel.has.add("new_one")
    setup.prepare()
    assert len(kernel.asked) == 1


def test_a_kernel_without_torch_is_told_which_to_choose(kernel):
    kernel.has.discard("torch")
    with pytest.raises(SystemExit, match="environment"):
        setup.prepare()
    assert not kernel.asked


@pytest.mark.parametrize("said", ["error: externally-managed-environment", "ERROR: No matching distribution found"])
def test_pips_own_reason_is_shown(kernel, said):
    kernel.answer.returncode, kernel.answer.stderr = 1, f"WARNING: a\n{said}\nhint: b\n\n[notice] To update, run: pip"
    with pytest.raises(SystemExit, match=f"new-one>=3.*{said.partition(': ')[2]}"):
        setup.prepare()


def test_a_course_elsewhere_is_named(kernel, monkeypatch, capsys):
    monkeypatch.chdir("/")
    setup.prepare()
    assert str(kernel.folder) in capsys.readouterr().out
