from rooms.circles import circles


def test_no_import_circles() -> None:
    assert circles() == []
