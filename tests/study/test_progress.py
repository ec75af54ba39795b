"""How far a study says that it is."""

import pytest

from linconv.study.progress import Pace
from linconv.study.settings import settings, versions


def test_shares_follow_the_weights():
    told = []
    pace = Pace(lambda share, what: told.append((share, what)), {"one": 1.0, "two": 3.0})

    def half():
        pace.within(0.5, "half of b")
        return 2

    assert pace.run("one", [("a", lambda: 1)]) == [1]
    assert pace.run("two", [("b", half), ("c", lambda: 3)]) == [2, 3]
    assert [what for _, what in told] == ["a", "b", "half of b", "c"]
    assert [share for share, _ in told] == pytest.approx([0.0, 0.25, 0.4375, 0.625])
    assert list(pace.seconds) == ["one", "two"]
    assert min(pace.seconds.values()) >= 0


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ((None, 20, None), "linconv study --out 'my study' --seed 3 --epochs 20"),
        (("none", 20, None), "linconv study --out 'my study' --seed 3 --models none"),
        (((), 5, False), "linconv study --out 'my study' --seed 3 --models none"),
        (
            (("A1", "B"), 5, False),
            "linconv study --out 'my study' --seed 3 --models A1,B --epochs 5 --no-training",
        ),
        (
            ("B", 5, True),
            "linconv study --out 'my study' --seed 3 --models B --epochs 5 --training",
        ),
    ],
)
def test_the_command_asks_for_the_same_again(arguments, command):
    found = settings({"image": None, "out": "my study"}, 3, *arguments)
    assert found["command"] == command
    assert found["image"] is None
    assert found["out"] == "my study"
    assert found["seed"] == 3


def test_versions_of_training_are_told_where_there_was_some():
    plain, training = versions(False), versions(True)
    assert not {"keras", "jax"} & set(plain)
    assert set(training) - set(plain) <= {"keras", "jax"}
    assert {"linconv", "python", "numpy", "scipy", "system"} <= set(plain)
