"""Findings: what the history of a run shows to go wrong, said once, with what to do."""

import dataclasses
import json

import pytest

from ganport.trainer.findings import Finding, find_early_stop, find_new, find_not_finite
from ganport.trainer.history import History
from ganport.trainer.recipes import load_recipe
from ganport.trainer.settings import change_recipe

RECIPE = load_recipe("images")
GOOD = {"frechet": 100.0, "growth": 1.3, "variety": 0.85, "memorising": 0.1, "copies": 0.01}


def checkpoints(*facts, interval=1_000):
    """Return the lines of checkpoints with the facts of a good run, except for the given ones."""
    return [{"step": (index + 1) * interval, **GOOD, **each} for index, each in enumerate(facts)]


def names(lines, recipe=RECIPE):
    return [finding.name for finding in find_new(recipe, lines)]


def test_good_run_has_no_finding():
    assert names(checkpoints({}, {"frechet": 90.0}, {"frechet": 95.0}, {"frechet": 99.0})) == []


def test_weights_that_grow_early_show_a_learning_rate_that_is_too_high():
    recipe = change_recipe(RECIPE, {"learning_rate": 4e-2})
    (finding,) = find_new(recipe, checkpoints({"growth": 9.7}, interval=100))
    assert (finding.name, finding.step) == ("learning rate", 100)
    assert str(finding) == (
        "step 100: learning rate: it is too high, since the generator's weights have grown to 9.7 times "
        "their initial size in 100 steps (usual: less than 3.5); train again with `--set learning_rate=0.004`"
    )
    assert names(checkpoints({"growth": 9.7}, interval=2_000)) == []  # weights of good runs grow, too


@pytest.mark.parametrize(
    ("fact", "bad", "name", "words"),
    [
        ("variety", 0.2, "collapse", "their variety is 0.20 of that of the real images, and was up to 0.85"),
        ("memorising", 0.8, "memorising", "held-out real images are 80% of the way"),
        ("copies", 0.4, "copies", "40% of the generated images are copies"),
    ],
)
def test_a_problem_is_found_when_it_lasts_and_said_once(fact, bad, name, words):
    once = checkpoints({}, {fact: bad})
    assert names(once) == []
    lasting = [*once, *checkpoints({}, {}, {fact: bad})[2:]]
    (finding,) = find_new(RECIPE, lasting)
    assert (finding.name, finding.step) == (name, 3_000)
    assert words in finding.evidence
    later = [*lasting, finding.to_line(), *checkpoints({}, {}, {}, {fact: bad})[3:]]
    assert names(later) == []
    assert History(later).findings == [finding]


def test_without_held_out_images_the_accuracy_shows_a_discriminator_that_memorises():
    def lines(*accuracies):
        steps = enumerate(accuracies, 1)
        pairs = [
            ({"step": step, "d_accuracy": value}, {"step": step, "distance": 0.1}) for step, value in steps
        ]
        return [line for pair in pairs for line in pair]

    assert names(lines(0.9, 0.95, 0.98)) == names(lines(0.9, 0.995)) == []
    (finding,) = find_new(RECIPE, lines(0.9, 0.995, 0.998))
    assert (finding.name, finding.step) == ("memorising", 3)
    assert "classifies 99.8% of the images correctly" in finding.evidence
    assert names(lines(0.9, 0.995, 0.998), load_recipe("digits")) == []
    assert names([{"step": 0, "memorising": 0.0}, *lines(0.9, 0.995, 0.998)]) == []


def test_little_variety_is_no_collapse_while_the_generator_learns():
    values = [{"variety": value} for value in (0.15, 0.14, 0.12, 0.12, 0.3)]
    assert [names(checkpoints(*values[: count + 1])) for count in range(5)] == [[]] * 5


def test_no_variety_is_a_collapse_from_the_beginning():
    assert names(checkpoints({"variety": 0.02}, {"variety": 0.02})) == ["collapse"]


def test_a_distance_that_keeps_growing_is_a_divergence():
    values = [{"frechet": value} for value in (100.0, 50.0, 60.0, 80.0, 90.0)]
    assert [names(checkpoints(*values[:count])) for count in range(1, 6)] == [[], [], [], [], ["divergence"]]
    (finding,) = find_new(RECIPE, checkpoints(*values))
    assert "to 90; the best was 50 at step 2,000" in finding.evidence
    assert names(checkpoints(*values, {"frechet": 70.0})) == []  # it shrinks again


def test_remedies_are_settings_that_the_recipe_does_not_have_yet():
    bare = change_recipe(RECIPE, {"r1_weight": 0, "r2_weight": 0})
    (finding,) = find_new(bare, checkpoints({"memorising": 0.9}, {"memorising": 0.9}))
    assert "`--set diff_augment=translation,cutout` and `--set r1_weight=1`" in finding.remedy
    full = change_recipe(RECIPE, {"diff_augment": "translation,cutout"})
    (finding,) = find_new(full, checkpoints({"memorising": 0.9}, {"memorising": 0.9}))
    assert "--set" not in finding.remedy


def test_every_remedy_is_understood_by_the_recipe():
    """The settings that a remedy names exist, and have the values that it names."""
    facts = {"growth": 9.0, "variety": 0.01, "memorising": 0.9, "copies": 0.9}
    bare = change_recipe(RECIPE, {"r1_weight": 0})
    growing = [{**facts, "frechet": value} for value in (1.0, 2.0, 3.0)]
    found = [*find_new(bare, checkpoints(*growing, interval=100)), *find_new(RECIPE, checkpoints(*growing))]
    assert {finding.name for finding in found} == {
        "learning rate", "collapse", "memorising", "copies", "divergence"
    }  # fmt: skip
    for finding in found:
        for setting in finding.remedy.split("`--set ")[1:]:
            name, _, value = setting.partition("`")[0].partition("=")
            change_recipe(RECIPE, {name: value} if value else {name: 1e-3})


def test_finding_survives_the_history():
    finding = Finding("copies", 3, "evidence", "remedy")
    assert Finding.from_line(json.loads(json.dumps(finding.to_line()))) == finding
    assert History([{"step": 3, "distance": 0.1}, finding.to_line()]).points() == [
        {"step": 3, "distance": 0.1}
    ]


def test_divergence_is_said_once_in_a_run_that_ends_by_it():
    (finding,) = find_not_finite(RECIPE, checkpoints({}), 1_500)
    assert (finding.name, finding.step) == ("divergence", 1_500)
    assert find_not_finite(RECIPE, [*checkpoints({}), finding.to_line()], 1_600) == []


STOPPING = dataclasses.replace(RECIPE, early_stop=2, evaluate_interval=1_000)


@pytest.mark.parametrize(
    ("distances", "stops"),
    [
        ([9, 8, 7], False),
        ([9, 8, 8.5], False),
        ([9, 8, 8.5, 8.4], True),
        ([9, 8, 8.5, 7.9], False),
        ([9, 8, 8.5, 7.9, 8, 8], True),
    ],
    ids=str,
)
def test_run_stops_early_after_some_measurements_without_improvement(distances, stops):
    lines = checkpoints(*({"frechet": float(value)} for value in distances))
    assert bool(find_early_stop(STOPPING, lines)) == stops
    assert not find_early_stop(RECIPE, lines)


def test_early_stop_counts_from_the_present_schedule():
    lines = checkpoints(*({"frechet": float(value)} for value in (9, 8, 8.5, 8.4)))
    longer = [*lines, {"step": 4_000, "steps": 20_000}]
    assert not find_early_stop(STOPPING, longer)
    more = checkpoints(*({"frechet": float(value)} for value in (9, 8, 8.5, 8.4, 8.3, 8.6)))[4:]
    assert not find_early_stop(STOPPING, [*longer, *more])


def test_measurement_at_the_first_preview_does_not_count_for_an_early_stop():
    """Its step depends on the speed of the machine."""
    lines = [{"step": 137, "frechet": 1.0}, *checkpoints({"frechet": 9.0}, {"frechet": 8.0})]
    assert not find_early_stop(STOPPING, lines)
