"""How long an execution will take."""

from services.dispatcher.service.prediction import Prediction


def test_nothing_is_predicted_of_what_was_never_seen() -> None:
    prediction = Prediction()
    assert prediction.of("a") is None
    assert prediction.of("") is None


def test_median_forgets_what_is_long_ago() -> None:
    prediction = Prediction()
    for _ in range(9):
        prediction.measured("a", 10.0)
    for _ in range(5):
        prediction.measured("a", 1.0)
    assert prediction.of("a") == 1.0


def test_one_outlier_changes_nothing() -> None:
    prediction = Prediction()
    for seconds in (1.0, 1.0, 60.0, 1.0):
        prediction.measured("a", seconds)
    assert prediction.of("a") == 1.0
