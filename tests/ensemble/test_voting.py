"""Ensembles: weights, folders that act as models, exported files, soups, and the mistakes one can make."""

import itertools
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import fervit
from fervit import probabilities
from fervit.cli import app
from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.ensemble.soups import check_alike, mean, soup
from fervit.ensemble.voting import ensemble
from fervit.ensemble.weights import chooser, cross_fitted, fit_weights, mix, select_greedily
from fervit.errors import ConfigError, DataError, FervitError, ModelError
from fervit.evaluation import metrics
from fervit.evaluation.explanations import explain
from fervit.evaluation.measurement import evaluate
from fervit.export.onnx import _to_onnx, export
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.media.crops import shrink_crop
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.models.mixture import Mixture, mixture_spec
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm

COUNT = 60  # pictures of public_test


def save_member(root, name, *, seed=0, size=32, dinov2=False, labels=FER7, sure=2.0, **preprocess):
    """Write a tiny model folder whose logits deviate by `sure` from picture to picture."""
    save_timm(root / "weights.safetensors", dinov2=dinov2, seed=seed)
    torch.manual_seed(seed)
    model, own = build_model(root / "weights.safetensors", labels, size)
    own = replace(own, **preprocess)
    spec = ModelSpec(model.config.model_type, own, labels=tuple(labels), name=name, licence="MIT")
    with torch.no_grad():
        model.classifier.weight.normal_()
        model.classifier.bias.zero_()
        logits = torch.from_numpy(TorchClassifier(model, spec).logits(make_dataset().images))
        scale = sure / logits.std(dim=0)
        model.classifier.weight *= scale[:, None]
        model.classifier.bias -= logits.mean(dim=0) * scale
    save_checkpoint(model, spec, root / name)
    return root / name


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Two ViTs of one shape, and a DINOv2 with a larger input, another normalisation and another label order."""
    root = tmp_path_factory.mktemp("members")
    return [
        save_member(root, "first", seed=0),
        save_member(root, "second", seed=1),
        save_member(root, "third", seed=2, size=48, dinov2=True, labels=FER7[::-1]),
    ]


def make_dataset(targets=None, *, labels=FER7, splits=None):
    """Return smooth grey pictures: train, public_test, private_test, in this order."""
    rng = np.random.default_rng(5)
    count = 2 * COUNT
    coarse = rng.integers(0, 256, (count, 4, 4, 1))
    images = coarse.repeat(10, axis=1).repeat(10, axis=2).astype(np.uint8)  # (N, 40, 40, 1)
    split_ids = np.repeat([0, 1, 2], [COUNT // 2, COUNT, COUNT // 2]) if splits is None else np.full(count, splits)
    drawn = rng.integers(0, len(labels), count) if targets is None else targets
    return Dataset("made", tuple(labels), images, drawn, split_ids.astype(np.int8), np.arange(count), "ab" * 32)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture(scope="module")
def made(members, dataset, tmp_path_factory):
    """An ensemble of all three with equal weights, and what was measured."""
    out = tmp_path_factory.mktemp("ensemble") / "E"
    return out, ensemble(members, dataset, out, weights="uniform")


def draw_probs(members, count, classes, *, seed=0, targets=None, skill=()):
    """Return `(M, N, K)` random probabilities; `skill` is added to the truth's logit of each member."""
    logits = np.random.default_rng(seed).normal(size=(members, count, classes))
    for k, strength in enumerate(skill):
        logits[k, np.arange(count), targets] += strength
    return probabilities.softmax(2 * logits)


# --- weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_fitted_weights_are_the_best_of_a_fine_grid(seed):
    targets = np.random.default_rng(9).integers(0, 4, 200)
    probs = draw_probs(3, 200, 4, seed=seed, targets=targets, skill=(0.9, 0.8, 0.3 * seed))
    steps = 100
    grid = [(a, b, steps - a - b) for a, b in itertools.product(range(steps + 1), repeat=2) if a + b <= steps]
    losses = {cell: metrics.nll(mix(probs, np.array(cell) / steps), targets) for cell in grid}
    best = min(losses, key=losses.get)
    weights = fit_weights(probs, targets)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert metrics.nll(mix(probs, weights), targets) <= losses[best] + 1e-6
    np.testing.assert_allclose(weights, np.array(best) / steps, atol=2 / steps)


def test_fitted_weights_fulfil_the_conditions_of_the_optimum():
    targets = np.arange(300) % 5
    probs = draw_probs(6, 300, 5, targets=targets, skill=(1, 0.5, 1, 0, -1, 2))
    weights = fit_weights(probs, targets)
    truth = probs[:, np.arange(300), targets]
    gains = (truth / (weights @ truth)).mean(axis=1)
    assert gains.max() <= 1 + 2e-6  # no member wants more than it has ...
    np.testing.assert_allclose(gains[weights > 0.01], 1, atol=1e-3)  # ... and who votes has what it wants
    assert weights[4] < 1e-6


def test_a_member_that_is_wrong_for_sure_breaks_nothing():
    targets = np.zeros(20, int)
    sure = np.tile([0.0, 1.0], (20, 1))
    weights = fit_weights(np.stack([sure, 1 - sure]), targets)
    assert weights[1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(select_greedily(np.stack([sure, 1 - sure]), targets), [0, 1])


def test_greedy_selection_repeats_members_and_leaves_out_the_useless():
    # likelihoods of the truth on two faces; c is worse than both. One a and one b are worse than a alone, which
    # is where stopping at the first step that does not help would stay
    truth = np.array([[0.9, 0.4], [0.2, 0.8], [0.1, 0.1]])
    probs = np.stack([truth, 1 - truth], axis=2)
    shares = select_greedily(probs, np.zeros(2, int))
    assert shares[2] == 0
    losses = {
        (a, b): -np.log((a * truth[0] + b * truth[1]) / (a + b)).mean()
        for a, b in itertools.product(range(1, 30), repeat=2)
    }
    reached = -np.log(shares @ truth).mean()
    assert reached == pytest.approx(min(losses.values()), abs=2e-3)
    assert reached < -np.log(truth[0]).mean()
    assert shares[0] > shares[1] > 0


def test_greedy_selection_with_fitted_weights_weighs_only_what_was_selected():
    targets = np.arange(210) % 7
    probs = draw_probs(4, 210, 7, targets=targets, skill=(1, 0.9, -3, -3))
    counted, fitted = (chooser(weights, "greedy")(probs, targets) for weights in (None, "fitted"))
    assert (counted > 0).tolist() == [True, True, False, False]
    assert fitted[2:].tolist() == [0, 0] and fitted.sum() == pytest.approx(1)
    assert metrics.nll(mix(probs, fitted), targets) <= metrics.nll(mix(probs, counted), targets) + 1e-6
    np.testing.assert_allclose(chooser("uniform", "greedy")(probs, targets), [0.5, 0.5, 0, 0])


def test_cross_fitted_votes_never_use_the_face_itself():
    targets = np.arange(23) % 3
    probs = draw_probs(2, 23, 3)
    probs[:, :, 0] += np.arange(23)  # a mark by which faces are known again
    seen = []

    def choose(part, part_targets):
        assert len(part_targets) == part.shape[1]
        seen.append({int(mark) for mark in part[0, :, 0]})
        return np.array([0.25, 0.75])

    cross_fitted(probs / probs.sum(axis=2, keepdims=True) * (1 + np.arange(23))[:, None], targets, choose)
    assert len(seen) == 5 and all(17 < len(faces) < 20 for faces in seen)


# --- the folder -------------------------------------------------------------------------------------------


def test_an_ensemble_answers_with_the_weighted_mean_of_its_members(members, dataset, tmp_path):
    choice = ensemble(members, dataset, tmp_path / "E")
    weights = np.array([row.weight for row in choice.members])
    part = dataset.split(PUBLIC_TEST)
    alone = []
    for folder in members:
        model, spec = load_checkpoint(folder)
        probs = TorchClassifier(model.half().float(), spec).probs(part.images)
        alone.append(probs if spec.labels == FER7 else probs[:, ::-1])
    _, spec = load_checkpoint(tmp_path / "E")
    expected = mix(np.stack(alone), weights) ** (1 / spec.temperature)
    actual = TorchClassifier(tmp_path / "E").probs(part.images)
    np.testing.assert_allclose(actual, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.ptp(weights) > 0.05 and spec.temperature != 1


def test_evaluating_the_folder_gives_the_figures_that_were_written(made, dataset):
    out, choice = made
    report = evaluate(TorchClassifier(out), dataset, split=PUBLIC_TEST).to_dict()
    _, spec = load_checkpoint(out)
    written = spec.metrics[PUBLIC_TEST]
    assert report["model"] == spec.name == "E" and spec.arch == "ensemble" and spec.licence == "MIT"
    assert written["accuracy"] == report["accuracy"] == choice.mix.accuracy[0]
    assert written["nll"] == pytest.approx(report["nll"], abs=1e-5)
    assert f"{100 * report['accuracy']:.2f} %" in (out / "README.md").read_text(encoding="utf-8")


def test_members_with_other_input_sizes_get_an_input_of_their_own(made):
    _, spec = load_checkpoint(made[0])
    assert {name: way.image_size for name, way in spec.inputs.items()} == {"pixel_values": 48, "pixel_values_1": 32}


def test_no_other_split_than_public_test_is_read(members, monkeypatch, tmp_path):
    asked = []
    real = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: asked.append(name) or real(self, name))
    plain = make_dataset()
    hidden = replace(plain, images=plain.images.copy(), targets=plain.targets.copy())
    others = hidden.split_ids != 1
    hidden.images[others], hidden.targets[others] = 0, 6
    first, second = (ensemble(members, data, tmp_path / f"E{k}") for k, data in enumerate((plain, hidden)))
    soup(members[:2], plain, tmp_path / "S", kind="greedy")
    assert set(asked) == {PUBLIC_TEST}
    assert [row.weight for row in first.members] == [row.weight for row in second.members]
    assert first.mix.nll == second.mix.nll


def test_one_copied_model_is_no_better_than_itself(members, dataset, tmp_path):
    shutil.copytree(members[0], tmp_path / "copy")
    choice = ensemble([members[0], tmp_path / "copy"], dataset, tmp_path / "E")
    assert not choice.better and "not better than its best member" in choice.verdict
    assert {row.name for row in choice.members} == {"first", "copy"}  # the same name twice would tell nothing
    assert "not better than its best member" in (tmp_path / "E" / "README.md").read_text(encoding="utf-8")


def test_an_ensemble_of_models_with_unlike_errors_is_called_better(members, tmp_path):
    count = 2 * COUNT
    data = make_dataset(np.zeros(count, int))
    part = data.split(PUBLIC_TEST)
    probs = np.stack([TorchClassifier(folder).probs(part.images) for folder in members[:2]])
    truth = mix(probs, np.array([0.5, 0.5])).argmax(axis=1)  # each member alone misses some of what both see together
    targets = data.targets.copy()
    targets[data.split_ids == 1] = truth
    choice = ensemble(members[:2], replace(data, targets=targets), tmp_path / "E", weights="uniform")
    assert choice.better and choice.verdict.startswith("the soft vote (uniform weights) is better than")
    assert choice.fair is None and choice.mix.accuracy[0] > 0.95


def test_a_member_without_weight_is_not_stored(members, tmp_path):
    data = make_dataset()
    targets = data.targets.copy()
    part = data.split(PUBLIC_TEST)
    targets[data.split_ids == 1] = TorchClassifier(members[0]).probs(part.images).argmax(axis=1)
    save_member(tmp_path, "sure", seed=7, sure=300.0)  # certain, and at odds with the truth
    choice = ensemble([members[0], tmp_path / "sure"], replace(data, targets=targets), tmp_path / "E")
    assert choice.members[1].weight == 0
    assert [folder.name for folder in (tmp_path / "E" / "members").iterdir()] == ["1-first"]
    np.testing.assert_allclose(
        TorchClassifier(tmp_path / "E").probs(part.images).argmax(axis=1), targets[data.split_ids == 1]
    )


def test_an_ensemble_is_what_its_kept_members_are(members, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("fervit.ensemble.voting.chooser", lambda *_: lambda asked, targets: np.array([0.0, 0.5, 0.5]))
    pool = [members[2], members[0], members[1]]  # the first, which is left out, is the only one with 48 px
    ensemble(pool, dataset, tmp_path / "E")
    _, spec = load_checkpoint(tmp_path / "E")
    assert (spec.preprocess.image_size, spec.extra_inputs, spec.labels) == (32, (), FER7)


def test_an_ensemble_is_written_whole_or_not_at_all(members, dataset, tmp_path, monkeypatch):
    out = tmp_path / "E"
    ensemble(members[:2], dataset, out, weights="uniform")
    before = (out / "ensemble.json").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="--overwrite"):
        ensemble(members, dataset, out)
    with monkeypatch.context() as patch:
        patch.setattr("fervit.ensemble.voting.card", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ensemble(members, dataset, out, weights="uniform", overwrite=True)
    assert (out / "ensemble.json").read_text(encoding="utf-8") == before
    ensemble(members, dataset, out, weights="uniform", overwrite=True)
    assert (out / "ensemble.json").read_text(encoding="utf-8") != before
    assert [path.name for path in tmp_path.iterdir()] == ["E"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["members"][0].update(folder="../../first"), "is no folder in members/"),
        (lambda values: values["members"][0].update(folder=".."), "is no folder in members/"),
        (lambda values: values["members"][0].update(weight=0.9), "sum to 1"),
        (lambda values: values["members"][0].update(weight=float("nan")), "sum to 1"),
        (lambda values: values.update(members=[]), "positive weights"),
        (lambda values: values.pop("spec"), "not readable"),
        (lambda values: values["spec"].update(extra_inputs=[{"image_size": 32}]), "not readable"),
        (lambda values: values["spec"].update(extra_inputs=[]), "not those that it was made of"),
        (lambda values: values["members"][0].update(folder="gone"), "no config.json"),
    ],
)
def test_a_tampered_ensemble_is_refused(made, tmp_path, change, message):
    shutil.copytree(made[0], tmp_path / "E")
    path = tmp_path / "E" / "ensemble.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_checkpoint(tmp_path / "E")


def test_a_pickle_among_the_members_is_refused(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "E")
    weights = tmp_path / "E" / "members" / "1-first" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match="pickle"):
        load_checkpoint(tmp_path / "E")


# --- where a model goes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "E.onnx"
    assert export(made[0], path) < 1e-4
    return path


def mixed_crops(count, seed=0):
    """Return crops of several sizes, colour and grey; small: where torch and Pillow scale down, they round apart."""
    rng = np.random.default_rng(seed)
    sizes = [(20 + 4 * (k % 4), 30) for k in range(count)]
    return [rng.integers(0, 256, (*size, 1 if k % 3 else 3), dtype=np.uint8) for k, size in enumerate(sizes)]


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_exported_file_answers_as_the_folder_whatever_the_crops(made, exported, name):
    if name == "openvino":
        pytest.importorskip("openvino")
    ours, theirs = OnnxClassifier(exported, runtime=name, threads=1), TorchClassifier(made[0])
    assert ours.spec == theirs.spec
    for count in (1, 6):
        crops = mixed_crops(count, count)
        np.testing.assert_allclose(ours.probs(crops, batch_size=4), theirs.probs(crops, batch_size=4), atol=1e-5)
    assert ours.probs([]).shape == (0, 7)


def test_a_recognizer_takes_the_folder_and_the_file(made, exported, astronaut):
    for model in (made[0], exported):
        recognizer = fervit.load(model, detector="none", threads=1)
        expected = recognizer.classifier.probs([astronaut])  # no member may see a picture that was resized before
        np.testing.assert_array_equal(recognizer(astronaut)[0].probs, expected[0])
        np.testing.assert_array_equal(next(recognizer.images([astronaut])).predictions[0].probs, expected[0])


def test_crops_that_wait_for_an_ensemble_keep_no_large_picture_in_memory(made):
    _, spec = load_checkpoint(made[0])
    picture = np.zeros((3000, 3000, 3), np.uint8)
    assert shrink_crop(picture, spec).shape == (1024, 1024, 3)
    assert shrink_crop(picture[:100, :100], spec).base is None
    assert shrink_crop(picture[:100, :100], replace(spec, extra_inputs=())).shape == (48, 48, 3)


def test_maps_of_an_ensemble_are_made_by_occlusion_and_others_point_to_the_members(made, astronaut):
    classifier = TorchClassifier(made[0])
    assert explain(classifier, astronaut, method="occlusion").heat.shape == (48, 48)
    with pytest.raises(ModelError, match=r"members/.*--method occlusion"):
        explain(classifier, astronaut, method="gradient")


class Certain(nn.Module):
    """Answers with one label, whatever it sees, by logits whose softmax underflows."""

    def __init__(self, label):
        super().__init__()
        self.register_buffer("answer", 1e4 * torch.eye(7)[label])

    def forward(self, pixel_values):
        return SimpleNamespace(logits=pixel_values.mean(dim=(1, 2, 3))[:, None] + self.answer)


def test_certain_members_that_disagree_keep_finite_logits(members, tmp_path):
    own = load_checkpoint(members[0])[1]
    spec = mixture_spec([own, own], name="E")
    model = Mixture([Certain(0), Certain(3)], [own, own], [0.25, 0.75], spec)
    _to_onnx(model, spec, tmp_path / "E.onnx")
    crops = mixed_crops(3)
    for classifier in (OnnxClassifier(tmp_path / "E.onnx"), TorchClassifier(model, spec)):
        probs = classifier.probs(crops)  # refuses what is not finite
        np.testing.assert_allclose(probs[:, [0, 3]], [[0.25, 0.75]] * 3, atol=1e-3)


# --- soups ------------------------------------------------------------------------------------------------


def test_a_uniform_soup_is_one_plain_model_with_the_mean_weights(members, dataset, tmp_path):
    choice = soup(members[:2], dataset, tmp_path / "S", kind="uniform", command="fervit ensemble")
    states = [load_checkpoint(folder)[0].state_dict() for folder in members[:2]]
    model, spec = load_checkpoint(tmp_path / "S")
    name = "vit.layers.1.mlp.fc1.weight"
    torch.testing.assert_close(model.state_dict()[name], (states[0][name] + states[1][name]) / 2, atol=1e-3, rtol=1e-3)
    assert spec.arch == "vit" and type(model).__name__ == "ViTForImageClassification"
    report = evaluate(TorchClassifier(tmp_path / "S"), dataset, split=PUBLIC_TEST)
    assert report.accuracy.value == choice.mix.accuracy[0] == spec.metrics[PUBLIC_TEST]["accuracy"]
    assert report.calibration.nll == pytest.approx(choice.mix.nll[0], abs=1e-6)
    assert "uniform soup" in (tmp_path / "S" / "README.md").read_text(encoding="utf-8")


def test_a_greedy_soup_leaves_out_what_spoils_it(tmp_path):
    base = save_member(tmp_path, "base", seed=3)
    model, spec = load_checkpoint(base)
    with torch.no_grad():
        for name, factor in (("near", 1.01), ("opposite", -5)):
            model.classifier.weight *= factor
            model.classifier.bias *= factor
            save_checkpoint(model, replace(spec, name=name), tmp_path / name)
    data = make_dataset()
    targets = data.targets.copy()
    targets[data.split_ids == 1] = TorchClassifier(base).probs(data.split(PUBLIC_TEST).images).argmax(axis=1)
    data = replace(data, targets=targets)
    folders = [tmp_path / "opposite", base, tmp_path / "near"]
    choice = soup(folders, data, tmp_path / "S", kind="greedy")
    assert [row.weight for row in choice.members] == [0, 0.5, 0.5]
    assert choice.mix.accuracy[0] > 0.95
    uniform = soup(folders, data, tmp_path / "U", kind="uniform")
    assert uniform.mix.accuracy[0] < 0.5


def test_a_soup_of_unlike_models_is_refused_and_told_what_differs(members, tmp_path):
    wide = save_member(tmp_path, "wide", size=48)
    for other, named in ((members[2], "arch"), (wide, "image_size")):
        with pytest.raises(ModelError, match=rf"cannot be one soup.*{named}.*leave --soup out"):
            soup([members[0], other], make_dataset(), tmp_path / "S", kind="uniform")
    assert not (tmp_path / "S").exists()


def test_a_soup_of_batch_norms_is_refused(members):
    loaded = [load_checkpoint(folder) for folder in members[:2]]
    for model, _ in loaded:
        model.norm = nn.BatchNorm2d(3)
    with pytest.raises(ModelError, match="batch norms"):
        check_alike([model for model, _ in loaded], [spec for _, spec in loaded], ["a", "b"])


def test_the_mean_of_weights_keeps_whole_numbers():
    states = [
        {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(7)},
        {"w": torch.tensor([2.0, 5.0]), "n": torch.tensor(7)},
    ]
    found = mean(states)
    torch.testing.assert_close(found["w"], torch.tensor([1.5, 4.0]))
    assert found["n"] == 7 and found["n"].dtype == torch.int64


# --- mistakes ---------------------------------------------------------------------------------------------


def test_members_that_cut_faces_differently_or_know_other_labels_are_refused(members):
    spec = load_checkpoint(members[0])[1]
    wider = replace(spec, name="wider", preprocess=replace(spec.preprocess, crop_margin=0.3))
    with pytest.raises(ModelError, match="first and wider cut faces differently"):
        mixture_spec([spec, wider], name="E")
    with pytest.raises(ModelError, match="know different labels"):
        mixture_spec([spec, replace(spec, labels=(*FER7, "contempt"))], name="E")


def test_data_without_public_test_or_with_other_labels_is_refused(members, tmp_path):
    with pytest.raises(DataError, match="public_test"):
        ensemble(members, make_dataset(splits=0), tmp_path / "E")
    with pytest.raises(ModelError, match="contempt"):
        ensemble(members, make_dataset(labels=(*FER7, "contempt")), tmp_path / "E")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["A"], "two members or more, got 1"),
        (["A", "A"], "given twice"),
        (["A", "./B/../A"], "given twice"),
        (["A", "none"], "none does not exist"),
        (["A", "A/model.safetensors"], "exported file: the members of an ensemble are model folders"),
        (["A", "E"], "is an ensemble itself"),
        (["A", "B", "--weights", "fited"], "did you mean 'fitted'"),
        (["A", "B", "--select", "best"], "greedy"),
        (["A", "B", "--soup", "hot"], "greedy, uniform"),
        (["A", "B", "--soup", "uniform", "--weights", "uniform"], "give one of them"),
        (["A", "B", "--out", "B"], "lie in one another"),
        (["A", "B", "--out", "A/deeper", "--overwrite"], "lie in one another"),
        (["A", "B", "--out", "mine", "--overwrite"], "no ensemble of fervit's"),
        (["A", "B", "--out", "E"], "--overwrite"),
        (["A", "empty"], "no config.json"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(members, made, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name, source in (("A", members[0]), ("B", members[1]), ("E", made[0])):
        shutil.copytree(source, name)
    for name in ("mine", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("two years of work")
    out = [] if "--out" in arguments else ["--out", "new"]
    result = CliRunner().invoke(app, ["ensemble", *arguments, *out, "--data", "synthetic:140"])
    assert isinstance(result.exception, FervitError), result.output
    assert message in str(result.exception)
    assert not (tmp_path / "new").exists() and (tmp_path / "mine" / "thesis.txt").exists()


def test_the_command_prints_the_table_and_makes_a_folder_that_the_others_take(members, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", "synthetic:140", "--out", "E", "--select", "greedy"]
    result = CliRunner().invoke(app, ["ensemble", *map(str, members), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert all(word in result.output for word in ("first", "second", "third", "soft vote", "95 % interval", "NLL"))
    assert str(tmp_path) not in (tmp_path / "E" / "README.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["evaluate", "E", "--data", "synthetic:140"], catch_exceptions=False)
    assert shown.exit_code == 0 and shown.output.startswith("E on synthetic")
