"""The public surface: a name that is added or taken away is added or taken away here, too."""

import fervit

PUBLIC = (
    *("Box", "Dataset", "Face", "FervitError", "FrameResult", "ImageResult", "ModelSpec", "OnnxClassifier"),
    *("Prediction", "Preprocess", "Recognizer", "RunSummary", "TrainConfig", "VideoWriter", "annotate", "compare"),
    *(
        "compare_models",
        "convert_dataset",
        "crop_photos",
        "distill",
        "doctor",
        "evaluate",
        "evaluate_table",
        "export_onnx",
    ),
    *("load", "load_dataset", "make_detector", "one_face", "predict", "probe", "pseudolabel", "push"),
    *("read_frames", "read_image", "read_people", "read_sidecar", "released_models", "study", "table_rows"),
    *("threshold_for", "train", "train_seeds", "tune", "watch", "write_study"),
)


def test_the_public_names_are_these_and_each_says_what_it_is() -> None:
    assert sorted(fervit.__all__) == list(PUBLIC)
    assert [name for name in PUBLIC if not (getattr(fervit, name).__doc__ or "").strip()] == []
